"""Pictures and data sets: reading, downloading, and preprocessing to inputs."""
