"""What a user calls a MODEL: found, read, changed, compared and written."""
