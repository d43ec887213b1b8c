"""What every room stands on: settings, logging, ids and the clock. Imports nothing of ours."""
