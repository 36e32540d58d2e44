"""Cycle-accurate simulations, which share no code with the planners that they check."""
