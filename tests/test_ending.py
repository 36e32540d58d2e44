"""How commands end: on a full disk, without a reader, and by Ctrl-C at any time."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from rillet.cli.ending import run
from rillet.errors import GraphError, RilletWarning

COUNT = [sys.executable, "-m", "rillet", "count", "microbotnet"]
CLOSED = "rillet: standard output: must be open, got none"


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """As a terminal starts programs: jobs in the background ignore Ctrl-C, and so would all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@full
@pytest.mark.parametrize("words", [COUNT, [*COUNT, "--json"], [*COUNT[:3], "--help"]], ids=["text", "json", "help"])
def test_a_full_device(words: list[str]) -> None:
    with Path("/dev/full").open("w") as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert done.stderr == "rillet: standard output: cannot be written: No space left on device\n"


@full
def test_nowhere_to_say_it() -> None:
    with Path("/dev/full").open("w") as out:
        assert subprocess.run(COUNT, stdout=out, stderr=out, check=False, timeout=100).returncode == 1
        assert subprocess.run([*COUNT[:-1], "x"], stderr=out, check=False, timeout=100).returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(("end", "said"), [("| true", ""), (">&-", f"{CLOSED}\n")])
def test_nobody_reads(end: str, said: str) -> None:
    line = f"set -o pipefail; {' '.join(COUNT)} {end}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (1, said)


PROBE = """
import os, signal, sys
class Probe:
    def find_spec(self, name, path=None, target=None):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Probe())
sys.argv = ["rillet", "count", "microbotnet"]
from {entry} import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("entry", "at"),
    [("rillet.__main__", at) for at in ("rillet.cli", "typer", "numpy", "rich.console", "rillet.report")]
    + [("rillet.cli", "rillet.analyses.count")],
)
def test_an_interrupt_at_an_import(entry: str, at: str) -> None:
    program = PROBE.format(at=at, entry=entry)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (130, ""), at


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupt_that_is_ignored_stays_so() -> None:
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + PROBE.format(
        at="rillet.cli", entry="rillet.__main__"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def _interrupted() -> None:
    signal.raise_signal(signal.SIGINT)


def _mistaken() -> None:
    """As an extension module does whose import is interrupted."""
    try:
        _interrupted()
    except KeyboardInterrupt:
        raise ImportError("numpy must be importable") from None


def _warned() -> None:
    warnings.warn(RilletWarning("cache: must be so"), stacklevel=1)


def _refused() -> None:
    raise GraphError("net: must be so")


def _no_file() -> None:
    Path("/nonexistent/file").read_bytes()


def _left(code: int | str | None) -> None:
    raise SystemExit(code)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (_interrupted, 130, ""),
        (_mistaken, 130, ""),
        (_warned, 0, "rillet: cache: must be so\n"),
        (_refused, 1, "rillet: net: must be so\n"),
        (_no_file, 1, "rillet: /nonexistent/file: cannot be used: No such file or directory\n"),
        (lambda: _left(None), 0, ""),
        (lambda: _left(2), 2, ""),
    ],
)
def test_codes_and_sentences(command, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook, warnings.showwarning
    assert run(command) == code
    assert capsys.readouterr().err == said
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook, warnings.showwarning) == before


def test_a_fault_of_our_own_stays_one() -> None:
    with pytest.raises(ImportError, match="no such module"):
        run(lambda: (_ for _ in ()).throw(ImportError("no such module")))
