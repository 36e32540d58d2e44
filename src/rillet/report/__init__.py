"""Presentation of results: tables, JSON records, charts and drawings."""
