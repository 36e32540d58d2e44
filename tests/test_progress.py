"""Bars of long calls: on a terminal and in a notebook by themselves, a callback instead where one is given."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rillet
from graphs import Builder
from rillet.ir.graph import ImageSpec
from rillet.ir.ops import Input, Pool, PoolKind, Window
from rillet.ir.types import DType, Shape
from rillet.report.progress import shown

SCRIPT = """
import rillet, numpy, sys
net = rillet.load(sys.argv[1])
pictures = numpy.zeros((2, 8, 8, 3), numpy.uint8)
rillet.quantize(net, pictures)
rillet.evaluate(net, (pictures, [3, 4]), backend="reference")
rillet.verify(rillet.plan(net), inputs=1)
rillet.compile(net, threads=1)
rillet.simulate(rillet.plan(net, interval=4096), images=2)
rillet.compare([net, net])
rillet.cost(net, ["stm32f746"])
rillet.compress(net, sparsity=0.5, more_than=1)
print("end")
"""
BARS = [
    "calibrating",
    "evaluating",
    "verifying",
    "compiling",
    "simulating",
    "counting and planning",
    "planning",
    "compressing",
]


@pytest.fixture(scope="module")
def net() -> rillet.Graph:
    b = Builder(np.random.default_rng(0), DType.F32)
    pooled = b.add(Pool(PoolKind.MEAN, Window((8, 8))), b.add(b.conv(4, (3, 3)), b.add(Input(), shape=Shape(8, 8, 3))))
    graph = b.graph(b.add(b.conv(5), pooled))
    return graph.with_image(ImageSpec(8, 8, 3, labels=tuple("abcde")))


@pytest.fixture(scope="module")
def file(net: rillet.Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.rlt"
    rillet.save(net, path)
    return path


def on_terminal(script: str, *words: object) -> str:
    """What a script writes to its standard error, a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", script, *map(str, words)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux's word for the end of a terminal
                break
            if not part:
                break
            written += part
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    assert process.returncode == 0, text[-1000:]
    return text


def test_a_terminal_shows_a_bar_for_every_long_call(file: Path) -> None:
    written = on_terminal(SCRIPT, file)
    for name in BARS:
        assert re.search(rf"\b{name} ━+", written), name


def test_a_pipe_is_written_nothing(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, file], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_a_bar_inside_another_or_a_spinner_is_left_out() -> None:
    written = on_terminal(
        "from rillet.report.progress import shown\nfrom rillet.report.screen import Screen\n"
        "with shown('outer') as out:\n with shown('nested') as advance: advance(1, 2)\n out(1, 1)\n"
        "with Screen(stderr=True).status('spinner'):\n with shown('hidden') as advance: advance(1, 2)\n"
        "with shown('next') as advance: advance(1, 2)\n"
        "with shown('late', at_once=False) as advance: pass\n"
    )
    assert {name: name in written for name in ("outer", "nested", "spinner", "hidden", "next", "late")} == {
        **dict.fromkeys(("outer", "spinner", "next"), True),
        **dict.fromkeys(("nested", "hidden", "late"), False),
    }


def test_a_notebook_shows_a_bar_and_takes_it_away(monkeypatch: pytest.MonkeyPatch, net: rillet.Graph) -> None:
    pages: list[str] = []

    class ZMQInteractiveShell:
        """The name by which a kernel of Jupyter is known."""

    class Handle:
        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            pages.append(data["text/html"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw and display_id
        pages.append(data["text/html"])
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    rillet.verify(rows(net), inputs=2)
    assert pages == [
        "verifying <progress ></progress> ",
        'verifying <progress value="1" max="2"></progress> 50%',
        'verifying <progress value="2" max="2"></progress> 100%',
        "",
    ]
    with shown("a < b") as advance:
        advance(1, 1000)
        advance(2, 1000)
    assert pages[4:] == [
        "a &lt; b <progress ></progress> ",
        'a &lt; b <progress value="1" max="1000"></progress> 0%',
        "",
    ]


def rows(net: rillet.Graph) -> rillet.RowPlan:
    made = rillet.plan(net)
    assert isinstance(made, rillet.RowPlan)
    return made


def pipeline(net: rillet.Graph) -> rillet.PixelPlan:
    made = rillet.plan(net, interval=4096)
    assert isinstance(made, rillet.PixelPlan)
    return made


def calls(net: rillet.Graph) -> dict[str, Callable[[Any], Any]]:
    """Long calls, each with a callback."""
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    return {
        "quantize": lambda tell: rillet.quantize(net, pictures, progress=tell),
        "evaluate": lambda tell: rillet.evaluate(net, (pictures, [3, 4]), backend="reference", progress=tell),
        "verify": lambda tell: rillet.verify(rows(net), inputs=3, progress=tell),
        "compile": lambda tell: rillet.compile(net, threads=1, progress=tell),
        "simulate": lambda tell: rillet.simulate(pipeline(net), images=2, progress=tell),
        "compress": lambda tell: rillet.compress(net, sparsity=0.5, more_than=1, progress=tell),
        "compare": lambda tell: rillet.compare([net, net], progress=tell),
        "cost": lambda tell: rillet.cost(net, ["stm32f746", "zcu102"], progress=tell),
    }


@pytest.mark.parametrize(
    "name", ["quantize", "evaluate", "verify", "compile", "simulate", "compress", "compare", "cost"]
)
def test_a_callback_is_told_until_all_is_done(name: str, net: rillet.Graph) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    calls(net)[name](tell)
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] > 0


def test_an_error_of_a_callback_ends_the_call(net: rillet.Graph) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    for name, call in calls(net).items():
        with pytest.raises(KeyboardInterrupt):
            call(stop)
            pytest.fail(name)
