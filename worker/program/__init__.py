"""Programs of a team's own: what stands around one, and what it reports to."""
