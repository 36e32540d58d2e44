"""The command line: every command is a thin face on functions of the library."""

from rillet.cli import (
    accuracy,
    chips,
    compression,
    costs,
    doctor,
    machines,
    networks,
    pictures,
    quantization,
    search,
    speed,
    streams,
    tables,
    training,
)
from rillet.cli.app import app, main

__all__ = [
    "accuracy",
    "app",
    "chips",
    "compression",
    "costs",
    "doctor",
    "machines",
    "main",
    "networks",
    "pictures",
    "quantization",
    "search",
    "speed",
    "streams",
    "tables",
    "training",
]
