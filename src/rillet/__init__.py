"""Rillet: convolutional networks as streams."""

__version__ = "0.1.0"
