"""Tables and records of results."""
