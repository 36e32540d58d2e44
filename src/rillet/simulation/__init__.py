"""Machines moved cycle by cycle, sharing nothing with the planners that they check."""
