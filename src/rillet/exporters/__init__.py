"""Exporters: each module turns a graph into the bytes of a file."""
