"""Hardware as it runs: designs simulated cycle by cycle, and compared with the reference and with their plan."""
