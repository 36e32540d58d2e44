"""Backends: the reference, and emitters that return text."""
