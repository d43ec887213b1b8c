"""The commands of `gradbook`, a file a kind; each module imports what is heavy when it runs."""
