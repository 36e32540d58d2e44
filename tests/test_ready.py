"""What is kept ready to run is found again, never when anything it comes from has changed, and never trusted unread."""

# pyright: reportPrivateUsage=false

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphs import random_image
from rillet.errors import BuildError
from rillet.exporters import rlt
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.models.specifier import Preprocessing
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import classify, ready
from rillet.runtime.identity import identity
from rillet.runtime.ready import Ready, make_ready
from rillet.runtime.run import Program
from rillet.system import build
from rillet.system import cache as system_cache
from rillet.targets.host import Host
from test_plan import residual

KEY = ("residual", "options")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build cache of each test's own."""
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Planner:
    """Plans, and counts how often it is asked to."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.calls = graph, 0

    def __call__(self) -> RowPlan:
        self.calls += 1
        return plan_rows(self.graph)


@pytest.fixture
def planner() -> Planner:
    return Planner(residual(6, 6, 2))


def made(planner: Planner, key: tuple[str, ...] | None = KEY) -> Ready:
    return make_ready(lambda: key, planner)


def test_the_second_time_nothing_is_made(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    first, image = made(planner), random_image(planner.graph)
    monkeypatch.setattr(ready, "_make", None)
    second = made(planner)
    assert planner.calls == 1
    assert second.built.library == first.built.library
    assert (second.segments, second.layerwise_bytes) == (first.segments, first.layerwise_bytes)
    assert second.built.arena_bytes == plan_rows(planner.graph).arena_bytes
    # All but the arrays.
    assert second.built.graph.nodes == planner.graph.nodes
    assert not second.built.graph.params
    for one, two in zip(Program(first.built).push(image), Program(second.built).push(image), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_has_no_identity_or_changes_meanwhile_is_not_kept(planner: Planner, cache: Path) -> None:
    made(planner, None)
    seen = iter((("before",), ("after",)))
    make_ready(lambda: next(seen), planner)
    assert planner.calls == 2
    assert not (cache / "ready").exists()


def _another_option(_: pytest.MonkeyPatch) -> tuple[str, ...]:
    return ("residual", "other options")


def _another_host(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(ready, "this_host", lambda: Host("another", "portable"))
    return KEY


def _another_compiler(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(build, "compiler_version", repr)
    return KEY


def _another_numpy(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(ready.np, "__version__", "99.0")
    return KEY


@pytest.mark.parametrize("change", [_another_option, _another_host, _another_compiler, _another_numpy])
def test_another_key_misses(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], tuple[str, ...]]
) -> None:
    made(planner)
    made(planner, change(monkeypatch))
    assert planner.calls == 2


@pytest.mark.parametrize("name", ["backends/c/kernels/dense.h", "plan/rows/planner.py", "models/hub.toml"])
def test_another_kernel_or_rule_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    copy = tmp_path / "rillet"
    shutil.copytree(ready._ROOT, copy, ignore=shutil.ignore_patterns("shipped", "__pycache__", "zoo", "train"))
    monkeypatch.setattr(ready, "_ROOT", copy)
    ready._sources.cache_clear()
    before = ready._sources()
    (copy / name).write_text((copy / name).read_text() + "\n")
    ready._sources.cache_clear()
    changed = ready._sources()
    ready._sources.cache_clear()
    assert changed != before


def _entry(cache: Path) -> Path:
    (entry,) = (cache / "ready").glob("*/*.json")
    return entry


def _flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    # In place, as a disk would do it; the loader has mapped no file that is called so now.
    copy = file.with_suffix(".copy")
    copy.write_bytes(data)
    os.replace(copy, file)


def _truncate(file: Path) -> None:
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, Path.unlink])
@pytest.mark.parametrize("part", ["entry", "library"])
def test_what_is_damaged_is_made_again(
    planner: Planner, cache: Path, part: str, damage: Callable[[Path], None]
) -> None:
    image = random_image(planner.graph)
    first = made(planner)
    expected = Program(first.built).push(image)[0]
    damage(_entry(cache) if part == "entry" else first.built.library)
    again = made(planner)
    assert planner.calls == 2
    np.testing.assert_array_equal(Program(again.built).push(image)[0], expected)
    made(planner)
    assert planner.calls == 2


@pytest.mark.parametrize(
    "words",
    [
        {"graph": "nonsense"},
        {"library": "../../../elsewhere.so"},
        {"arena_bytes": "many"},
        {"threads": None},
    ],
)
def test_an_entry_of_nonsense_is_made_again(planner: Planner, cache: Path, words: dict[str, object]) -> None:
    """Whole by its checksum, and yet no entry."""
    made(planner)
    entry = _entry(cache)
    other = cache / "other.json"
    other.write_text(json.dumps({**json.loads(entry.read_text()), **words}))
    key = entry.parent.name
    entry.unlink()
    system_cache.keep(other, "ready", key)
    made(planner)
    assert planner.calls == 2


def test_a_damaged_build_is_made_again(planner: Planner, cache: Path) -> None:
    """Objects too: a link of half a file would fail, or worse."""
    first = made(planner).built.library
    for file in [first, *(cache / "objects").glob("*/*.o")]:
        _truncate(file)
    Program(plan_rows(planner.graph)).run(random_image(planner.graph))


def test_the_longest_unused_go_beyond_the_bound(planner: Planner, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(planner)
    size = sum(file.stat().st_size for file in cache.glob("*/*/*.*"))
    for file in cache.glob("*/*/*.*"):
        os.utime(file, ns=(10**18, 10**18))
    monkeypatch.setattr(system_cache, "MOST_BYTES", size + size // 2)
    other = Planner(residual(8, 8, 2))
    made(other, ("other",))
    assert sum(file.stat().st_size for file in cache.glob("*/*/*.*")) <= size + size // 2
    # What was made last is there; of what was there before, something is not.
    made(other, ("other",))
    assert other.calls == 1
    made(planner)
    assert planner.calls == 2


def test_what_killed_builds_left_goes(planner: Planner) -> None:
    place = system_cache.room("building")
    for name, age in (("rillet-old", 10**6), ("rillet-new", 60), ("other-old", 10**6)):
        (place / name).mkdir()
        then = time.time() - age
        os.utime(place / name, (then, then))
    made(planner)
    assert sorted(left.name for left in place.glob("*-*")) == ["other-old", "rillet-new"]


def test_a_file_is_known_by_its_bytes_its_words_and_the_labels_beside_it(tmp_path: Path) -> None:
    path, said = tmp_path / "net.rlt", Preprocessing()
    path.write_bytes(rlt.to_bytes(residual(6, 6, 2)))
    known = [identity(str(path), said, None)]
    known.append(identity(f"{path}:resolution=8", said, None))
    known.append(identity(str(path), Preprocessing(resize="crop"), None))
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    known.append(identity(str(path), said, None))
    (tmp_path / "labels.txt").write_text("dog\ncat\n")
    known.append(identity(str(path), said, None))
    path.write_bytes(rlt.to_bytes(residual(6, 6, 4)))
    known.append(identity(str(path), said, None))
    known += [identity(f"microbotnet:seed={seed}", said, None) for seed in range(2)]
    known.append(identity("microbotnet:seed=1", said, path))
    assert None not in known
    assert len(set(known)) == len(known)
    assert identity(str(path), said, None) == identity(str(path), said, None)


def test_what_cannot_be_told_has_no_identity(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"..location..weights.bin..")  # weights in another file
    assert identity(str(path), Preprocessing(), None) is None
    assert identity("microbotnet", Preprocessing(), tmp_path / "absent.pth") is None


def test_a_program_of_another_network_is_found_out(planner: Planner, tmp_path: Path) -> None:
    """The answer comes first; the comparison after it is with the network itself, every time."""
    np.save(tmp_path / "image.npy", random_image(planner.graph))
    answer = classify.answer(made(planner), [tmp_path / "image.npy"], raw=True)
    assert classify.prove("net", answer, planner.graph, planner).compared == "bytes"
    weights = {name: np.flip(array) for name, array in planner.graph.params.items()}
    with pytest.raises(BuildError, match="net: the program must give the reference's values, got "):
        classify.prove("net", answer, replace(planner.graph, params=weights), planner)


def test_processes_at_once_and_the_next_one(tmp_path: Path, cache: Path) -> None:
    path, image = tmp_path / "net.rlt", tmp_path / "image.npy"
    path.write_bytes(rlt.to_bytes(residual(6, 6, 2)))
    np.save(image, random_image(open_model(path).graph))
    command = [sys.executable, "-m", "rillet", "run", str(path), str(image), "--raw", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    entry = _entry(cache)
    stamp = entry.stat().st_mtime_ns
    found.append(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout))
    assert entry.stat().st_mtime_ns == stamp
    for record in found:
        del record["latency_ms"]
    assert found[0] == found[1] == found[2]
    assert not list(cache.glob("building/rillet-*"))
