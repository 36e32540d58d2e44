"""Questions of the sources' tables, not of a user's network."""
