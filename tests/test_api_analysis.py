"""The public functions that count, cost, change and measure networks: their examples, records, data and refusals."""

import doctest
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

PUBLIC = {
    "analysis": ("count", "census", "compare", "explain", "fit", "cost", "energy", "systolic"),
    "changes": ("fold", "dequantize", "fuse", "resize", "quantize", "compress"),
    "accuracy": ("evaluate", "train"),
}


SLOW = {"train": pytest.mark.slow}


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, marks=SLOW.get(name, ())) for module, names in PUBLIC.items() for name in names],
)
def test_examples(module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "train":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    found = import_module(f"rillet.api.{module}")
    function: Callable[..., object] = getattr(found, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, module=found)
    assert example.examples, f"rillet.{name} must have an example"
    result = doctest.DocTestRunner(verbose=False).run(example)
    assert result.failed == 0
