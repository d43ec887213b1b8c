"""What the house talks about: the domain, the tables and the schemas of the API."""
