"""The front door: HTTP in, problem+json out. It never imports torch."""
