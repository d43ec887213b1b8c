"""Data sets: from their official files, or made here, to one tensor on the training device."""
