"""Tables, records and pictures of results."""
