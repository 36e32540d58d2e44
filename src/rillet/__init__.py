"""Rillet: convolutional networks as streams."""

import sys
from importlib import import_module
from types import ModuleType
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


class _Package(ModuleType):
    """A package that is a public function too: `rillet.train(net, ...)` beside `rillet.train.recipe`."""

    def __call__(self, *args: Any, **more: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"rillet.api.{_NAMES[name]}"), name)(*args, **more)


class _Face(ModuleType):
    """The public face: a package of a function's name is made callable when it is imported, and so put here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMES and isinstance(value, ModuleType):
            value.__class__ = _Package
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name == "from_torch":
        return import_module("rillet.importers.torch").from_torch
    if name in _NAMES:
        return getattr(import_module(f"rillet.api.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'rillet' has no attribute {name!r}")


def _load_views() -> None:
    import_module("rillet.report.views")


record.load_views = _load_views
