"""Time on this machine: rounds beside other runtimes, layers, and the measured peak."""
