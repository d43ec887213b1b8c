"""Other people's trainers, in an environment of their own: `make libraries`."""
