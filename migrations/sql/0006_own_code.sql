-- Code of a team's own: what a job needs of it, and what workers offer.

ALTER TABLE jobs ADD COLUMN packages TEXT[] DEFAULT '{}' NOT NULL;

ALTER TABLE workers ADD COLUMN packages TEXT[] DEFAULT '{}' NOT NULL;

ALTER TABLE workers ADD COLUMN entrypoints JSONB DEFAULT '{}' NOT NULL;
