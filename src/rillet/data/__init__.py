"""Pictures and data sets: read, fetched, laid out as inputs."""
