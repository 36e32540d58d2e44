"""Rillet: convolutional networks as streams."""

from importlib import import_module
from typing import Any

from rillet.system import record

__version__ = "0.1.0"
_NAMES = {
    "load": "networks",
    "save": "networks",
    "count": "analysis",
    "compare": "analysis",
    "cost": "analysis",
    "energy": "analysis",
    "explain": "analysis",
    "fit": "analysis",
    "systolic": "analysis",
    "compress": "changes",
    "dequantize": "changes",
    "fold": "changes",
    "fuse": "changes",
    "quantize": "changes",
    "resize": "changes",
    "evaluate": "accuracy",
    "train": "accuracy",
}


def __getattr__(name: str) -> Any:
    if name == "from_torch":
        return import_module("rillet.importers.torch").from_torch
    if name in _NAMES:
        return getattr(import_module(f"rillet.api.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'rillet' has no attribute {name!r}")


def _load_views() -> None:
    import_module("rillet.report.views")


record.load_views = _load_views
