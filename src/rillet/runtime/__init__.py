"""Builds, runs, measures and compares emitted programs."""
