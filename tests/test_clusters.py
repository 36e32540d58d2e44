"""Searches whose workers, nodes and coordinator are killed at random moments: local processes, Dask and Ray.

Dask and Ray: `pip install distributed ray`, then `pytest -m slow tests/test_clusters.py`.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

import clusters
from rillet.errors import GraphError
from rillet.search import clusters as engines
from rillet.search import run
from rillet.search.found import Found
from searching import Here, asked, pictures, results

SCRIPT = """
import sys
from pathlib import Path
from rillet.search import engine, run
from searching import asked
class Told(engine.Workers):
    def begin(self):
        made = super().begin()
        print("begun", flush=True)
        return made
if __name__ == "__main__":
    data, out, *words = sys.argv[1:]
    given = asked(Path(data), resume=True, generations=2)
    run.search(given, Told(1, **dict([words] if words else [])), Path(out), lambda *_: None)
"""
LIBRARIES = {"dask": "distributed", "ray": "ray"}
KILLED = [
    ("local", "worker"),
    ("local", "coordinator"),
    *((kind, part) for kind in LIBRARIES for part in ("worker", "node", "coordinator")),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The search undisturbed, in this process."""
    return run.search(asked(data, generations=2), Here(), tmp_path_factory.mktemp("whole"), lambda *_: None)


@dataclass
class Trained:
    """Nodes, and the seconds that an undisturbed search takes on them, from its first task to its end."""

    nodes: clusters.Nodes
    seconds: float


@pytest.fixture(scope="module")
def trained(data: Path, whole: Found, tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], Trained]]:
    """The nodes of a kind, begun once, and found to train what one process does."""
    made: dict[str, Trained] = {}

    def of(kind: str) -> Trained:
        if kind not in made:
            skip_without(kind)
            nodes = {"local": clusters.Local, "dask": clusters.Dask, "ray": clusters.Ray}[kind]()
            made[kind] = Trained(nodes, 0.0)
            out = tmp_path_factory.mktemp("undisturbed") / "out"
            search = begun(nodes, data, out)
            began = time.monotonic()
            ended(search)
            assert results(run.read(out)) == results(whole)
            made[kind].seconds = time.monotonic() - began
        return made[kind]

    yield of
    for one in made.values():
        one.nodes.close()


def skip_without(kind: str) -> None:
    """Skips a test of a cluster whose library is not installed."""
    if kind in LIBRARIES and importlib.util.find_spec(LIBRARIES[kind]) is None:
        pytest.skip(f"{LIBRARIES[kind]} is not installed: pip install rillet[{kind}]")


def begun(nodes: clusters.Nodes, data: Path, out: Path) -> "subprocess.Popen[str]":
    """A coordinator that has begun its engine."""
    words = [nodes.option, nodes.address] if nodes.address else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    made = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data), str(out), *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert made.stdout is not None and made.stdout.readline() in ("begun\n", "")
    return made


def ended(search: "subprocess.Popen[str]") -> None:
    search.communicate(timeout=900)
    assert search.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize(("kind", "killed"), KILLED)
def test_nothing_is_lost(
    kind: str,
    killed: str,
    moment: int,
    trained: Callable[[str], Trained],
    data: Path,
    whole: Found,
    tmp_path: Path,
) -> None:
    nodes, out = trained(kind).nodes, tmp_path / "out"
    search = begun(nodes, data, out)
    time.sleep(Random(f"{kind} {killed} {moment}").uniform(0, trained(kind).seconds))
    if killed == "coordinator":
        search.kill()
        search.communicate()
        search = begun(nodes, data, out)
    elif killed == "worker":
        nodes.kill_worker(search.pid)
    else:
        nodes.kill_node()
    ended(search)
    assert results(run.read(out)) == results(whole)

    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(out / "study.log"))
    study = optuna.load_study(study_name="rillet", storage=optuna.storages.JournalStorage(backend))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6
    assert len({(trial.user_attrs["key"], trial.params["epochs"]) for trial in study.trials}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIBRARIES)
def test_a_cluster_that_does_not_answer_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how long it was tried."""
    skip_without(kind)
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 2)
    with pytest.raises(GraphError, match=rf"--{kind} 127.0.0.1:9: must answer, and did not in \d+ s: "):
        getattr(engines, kind)("127.0.0.1:9")
