"""Each figure that is published, and how it was measured."""
