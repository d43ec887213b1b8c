"""What a team brings to its workers: nothing here knows of the service."""
