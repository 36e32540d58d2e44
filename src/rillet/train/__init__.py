"""Graphs as PyTorch modules, to be trained."""
