"""Targets: hosts, boards, chips and systolic arrays, every number with its source."""
