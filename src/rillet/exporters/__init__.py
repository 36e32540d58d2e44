"""Graphs out: each module turns one into the bytes of a file."""
