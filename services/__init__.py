"""What the house can do: one function a use case, run in one transaction. Nobody commits here."""
