"""Analyses: each returns one frozen record."""
