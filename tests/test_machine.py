"""The machine's facts: read where the system tells them, assumed where it does not."""

from pathlib import Path

import pytest

from rillet.bench import machine as module
from rillet.bench.machine import machine


def test_the_facts_are_there() -> None:
    here = machine()
    assert here.cpu
    assert here.cores >= 1
    assert here.compiler
    assert len(here.date) == 10


def test_caches_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, facts in enumerate((("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"))):
        (tmp_path / f"index{i}").mkdir()
        for name, text in zip(("level", "type", "size"), facts, strict=True):
            (tmp_path / f"index{i}" / name).write_text(text + "\n")
    monkeypatch.setattr(module, "_CPU", tmp_path)
    here = machine()
    assert here.cache_bytes == {"L1d": 48 * 1024, "L2": 2 * 2**20}
    assert here.cache(2) == 2 * 2**20
    assert here.cache(3) == module.ASSUMED_CACHE_BYTES[3]


def test_a_machine_without_a_compiler_has_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert machine().compiler == ""
