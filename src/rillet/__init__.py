"""Rillet: convolutional networks as streams of rows and pixels, compiled to C or planned as pipelines on chips."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rillet.system import record as _record
from rillet.system.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from rillet.api.accuracy import evaluate as evaluate
    from rillet.api.accuracy import train as train
    from rillet.api.analysis import compare as compare
    from rillet.api.analysis import cost as cost
    from rillet.api.analysis import count as count
    from rillet.api.analysis import energy as energy
    from rillet.api.analysis import explain as explain
    from rillet.api.analysis import fit as fit
    from rillet.api.analysis import systolic as systolic
    from rillet.api.changes import compress as compress
    from rillet.api.changes import dequantize as dequantize
    from rillet.api.changes import fold as fold
    from rillet.api.changes import fuse as fuse
    from rillet.api.changes import live as live
    from rillet.api.changes import quantize as quantize
    from rillet.api.changes import resize as resize
    from rillet.api.drawing import Svg as Svg
    from rillet.api.drawing import draw as draw
    from rillet.api.machines import target as target
    from rillet.api.machines import targets as targets
    from rillet.api.networks import card as card
    from rillet.api.networks import from_torch as from_torch
    from rillet.api.networks import load as load
    from rillet.api.networks import models as models
    from rillet.api.networks import reference as reference
    from rillet.api.networks import save as save
    from rillet.api.networks import to_torch as to_torch
    from rillet.api.pages import compare_page as compare_page
    from rillet.api.pages import page as page
    from rillet.api.pages import serve as serve
    from rillet.api.plans import Emitted as Emitted
    from rillet.api.plans import Simulated as Simulated
    from rillet.api.plans import emit as emit
    from rillet.api.plans import footprint as footprint
    from rillet.api.plans import plan as plan
    from rillet.api.plans import simulate as simulate
    from rillet.api.programs import Program as Program
    from rillet.api.programs import compile as compile
    from rillet.api.programs import verify as verify
    from rillet.api.search import search as search
    from rillet.api.synthesis import synth as synth
    from rillet.errors import BuildError as BuildError
    from rillet.errors import GraphError as GraphError
    from rillet.errors import RilletError as RilletError
    from rillet.errors import TargetError as TargetError
    from rillet.errors import Unsupported as Unsupported
    from rillet.ir.graph import Graph as Graph
    from rillet.models.specifier import DEMO_MODEL as DEMO_MODEL
    from rillet.plan.pipeline.plan import PixelPlan as PixelPlan
    from rillet.plan.rows.plan import RowPlan as RowPlan
    from rillet.runtime.verify import Verification as Verification

_NAMES = {
    **dict.fromkeys(("evaluate", "train"), "api.accuracy"),
    **dict.fromkeys(("compare", "cost", "count", "energy", "explain", "fit", "systolic"), "api.analysis"),
    **dict.fromkeys(("compress", "dequantize", "fold", "fuse", "live", "quantize", "resize"), "api.changes"),
    **dict.fromkeys(("target", "targets"), "api.machines"),
    **dict.fromkeys(("card", "from_torch", "load", "models", "reference", "save", "to_torch"), "api.networks"),
    **dict.fromkeys(("Svg", "draw"), "api.drawing"),
    **dict.fromkeys(("Emitted", "Simulated", "emit", "footprint", "plan", "simulate"), "api.plans"),
    **dict.fromkeys(("Program", "compile", "verify"), "api.programs"),
    **dict.fromkeys(("compare_page", "page", "serve"), "api.pages"),
    "search": "api.search",
    "synth": "api.synthesis",
    **dict.fromkeys(("BuildError", "GraphError", "RilletError", "TargetError", "Unsupported"), "errors"),
    "Graph": "ir.graph",
    "DEMO_MODEL": "models.specifier",
    "PixelPlan": "plan.pipeline.plan",
    "RowPlan": "plan.rows.plan",
    "Verification": "runtime.verify",
}
"""The public names, and the module of each, which is imported when the name is first used."""

__all__ = [*_NAMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]  # spelt out for it above


_PACKAGES = {"models", "plan", "search", "targets", "train"}
"""The public functions whose name is a package's too: calling the package calls the function."""


def _public(name: str) -> Any:
    """A public function, class or constant."""
    from importlib import import_module

    return getattr(import_module(f"rillet.{_NAMES[name]}"), name)


class _Package(ModuleType):
    """A package that is a public function too: `rillet.plan(net)` beside `rillet.plan.rows`."""

    def __call__(self, *args: Any, **more: Any) -> Any:
        return _public(self.__name__.rpartition(".")[2])(*args, **more)


class _Face(ModuleType):
    """The public face: a package of a function's name is made callable when it is imported, and so put here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _Package
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'rillet' has no attribute {name!r}")
    if name in _PACKAGES:
        from importlib import import_module

        return import_module(f"rillet.{name}")
    found = globals()[name] = _public(name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _load_views() -> None:
    from importlib import import_module

    import_module("rillet.report.views")
    import_module("rillet.api.views")


_record.load_views = _load_views
