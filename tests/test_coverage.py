"""bench/coverage.py: what it finds of a network, and where it puts the table."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

pytest.importorskip("ai_edge_litert")
from rillet.errors import GraphError
from tfl import Writer, one_conv

SCRIPT = ROOT / "bench" / "coverage.py"


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("coverage")


def files(folder: Path) -> None:
    """One that is read, one of an operator that is not, and one that is none."""
    (folder / "a.tflite").write_bytes(one_conv())
    w = Writer()
    source, out = w.tensor((1, 4), "float32"), w.tensor((1, 4), "float32")
    w.op("RFFT2D", [source], [out])
    (folder / "b.tflite").write_bytes(w.bytes([source], [out]))
    (folder / "c.tflite").write_bytes(b"none")


def test_files_of_a_folder(tmp_path: Path) -> None:
    files(tmp_path)
    command = [sys.executable, str(SCRIPT), "tflite", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    read, unknown, broken = map(json.loads, done.stdout.splitlines())
    assert (read["name"], read["stage"], read["nodes"], read["against"]) == ("a.tflite", "done", 2, "litert")
    assert not read["difference"]
    assert unknown["refusal"].startswith("operator 0 (RFFT2D): is not supported")
    assert broken["refusal"] == "must be a TFLite file ('TFL3' at byte 4), got 4 other bytes"
    assert "1 of 3 networks are read; 1 of these were compared and are equal." in done.stderr


def test_what_was_found_is_kept_and_not_looked_for_again(tmp_path: Path) -> None:
    files(tmp_path)
    found, kept = [], tmp_path / "kept.jsonl"
    command = [sys.executable, str(SCRIPT), "tflite", str(tmp_path), "--json", "--read", "--keep", str(kept)]
    for name in ("a.tflite", "", ""):
        done = subprocess.run([*command, "--only", name], capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[1] == found[2] == kept.read_text() and found[1].startswith(found[0])


def test_a_limit_ends_a_network_and_what_was_known_stays(coverage: Any, tmp_path: Path) -> None:
    files(tmp_path)
    found = coverage.apart("tflite", coverage.Case("a", str(tmp_path / "a.tflite")), 0.01, 4)
    assert found.refusal == "reading took more than 0.01 s"


def test_a_value_that_differs_is_told(coverage: Any) -> None:
    found = coverage.Found("done", nodes=2, against="litert", difference="conv, row 0")
    assert coverage.verdict(found) == "differs: conv, row 0"
    assert coverage.totals([(None, found)]).startswith("1 of 1 networks are read; 0 of these")


def test_a_section_takes_the_place_of_the_one_before(coverage: Any) -> None:
    page = "# Page\n\ntext\n"
    one = coverage.put(page, "One", "first\n")
    two = coverage.put(one, "Two", "second\n")
    assert two == "# Page\n\ntext\n\n## One\n\nfirst\n\n## Two\n\nsecond\n"
    assert coverage.put(two, "One", "new\n") == "# Page\n\ntext\n\n## One\n\nnew\n\n## Two\n\nsecond\n"
    assert coverage.put(two, "Two", "new\n") == "# Page\n\ntext\n\n## One\n\nfirst\n\n## Two\n\nnew\n"


def test_keras_files_are_taken_by_kind(coverage: Any, tmp_path: Path) -> None:
    for name in ("B.int8.tflite", "A.int8.tflite", "A.float.tflite", "plain.tflite", "A.int8.txt"):
        (tmp_path / name).write_bytes(one_conv())
    part = coverage.part_of("keras")
    assert [case.name for case in part.cases([str(tmp_path)])] == ["A.float", "A.int8", "B.int8"]
    with pytest.raises(GraphError, match="keras must come with the folder"):
        list(part.cases([]))
