"""Benchmarks on this machine: against other runtimes, by layer, and of the machine's peak."""
