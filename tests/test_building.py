"""Compilers that misbehave: one sentence, soon, and nothing kept of what they made."""

import ctypes
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphs import random_image
from memory import peak_bytes
from rillet.errors import BuildError
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.system import build
from rillet.system.build import build_library, compiler_version, find_compiler, first_error
from rillet.system.library import load_library
from test_c import check_outputs
from test_plan import residual

SOURCE = {"one.c": "int one(void); int one(void) { return 1; }\n"}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the compilers here are shell scripts")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes $CC a script that says its version and then does what is said; `$OUT` is the file to make."""

    def make(does: str) -> None:
        script = tmp_path / "cc"
        find = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && OUT=$2; shift; done'
        script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ echo cc {len(does)}; exit; }}\n{find}\n{does}\n')
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        compiler_version.cache_clear()

    return make


@pytest.mark.parametrize("said", ['"', "cc '", "cc \\", '""', "nowhere-cc", "/etc/passwd"])
def test_what_is_no_command(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("CC", said)
    with pytest.raises(BuildError, match="^CC must be a (command as a shell takes it|C compiler on this machine), got"):
        find_compiler()


def test_a_command_with_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "cc").symlink_to(build.shutil.which("cc") or "/usr/bin/cc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", "'./a folder/cc' -g0")
    # It runs in another folder than the one in which it was said.
    assert load_library(build_library(SOURCE), ["one"]).one() == 1


FAILURES = {
    "not UTF-8": (r"printf 'one.c:1: error: \377\376\033[2J\n' >&2; exit 1", r"error: \\ufffd\\ufffd\\x1b\[2J"),
    "a long line": ("printf 'error: '; head -c 100000 /dev/zero | tr '\\0' x; exit 1", r"error: x{290,300}\.\.\."),
    "300 MB and then the error": ("head -c 300000000 /dev/zero; echo; echo 'error: here'; exit 1", "error: here"),
    "the error and then 300 MB": ("echo 'error: here'; head -c 300000000 /dev/zero; exit 1", "error: here"),
    "no word": ("exit 1", "stopped without a message"),
    "a signal": ("kill -9 $$", "stopped without a message"),
    "nothing": ("exit 0", "must make one.c.o, got exit code 0 and no such file"),
    "an empty file": (': > "$OUT"', "must make one.c.o, got exit code 0 and no such file"),
    "a link": ('ln -s /etc/passwd "$OUT"', "must make one.c.o, got exit code 0 and no such file"),
    "a folder": ('mkdir "$OUT"', "must make one.c.o, got exit code 0 and no such file"),
    "a FIFO": ('mkfifo "$OUT"', "must make one.c.o, got exit code 0 and no such file"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_one_sentence(compiler: Callable[[str], None], cache: Path, kind: str) -> None:
    does, message = FAILURES[kind]
    compiler(does)
    before = peak_bytes()
    with pytest.raises(BuildError, match=message) as raised:
        build_library(SOURCE)
    assert len(str(raised.value)) < 500 and str(raised.value).isprintable()
    assert peak_bytes() - before < 50e6
    assert not list(cache.glob("programs/*/*")) and not list(cache.glob("building/rillet-*"))


@pytest.mark.parametrize("does", ["sleep 1000", "sleep 1000 & wait", "yes", "exec >&- 2>&-; sleep 1000"])
def test_one_that_hangs(compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    compiler(does)
    monkeypatch.setenv("RILLET_COMPILE_SECONDS", "0.3")
    start = time.monotonic()
    with pytest.raises(BuildError, match=r"must finish within 0.3 s \(RILLET_COMPILE_SECONDS says otherwise\)"):
        build_library(SOURCE)
    assert time.monotonic() - start < 10


def test_one_that_leaves_something_running(compiler: Callable[[str], None]) -> None:
    """What holds its output is ended too, and what it made counts."""
    compiler('sleep 1000 & cc -shared -fPIC -o "$OUT" one.c')
    assert load_library(build_library(SOURCE), ["one"]).one() == 1


@pytest.mark.parametrize("said", ["none", "0", "-1", "nan", "1e9"])
def test_no_time(compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    compiler("exit 0")
    monkeypatch.setenv("RILLET_COMPILE_SECONDS", said)
    with pytest.raises(BuildError, match="RILLET_COMPILE_SECONDS must be seconds above 0 and at most 1e6, got"):
        build_library(SOURCE)


def test_version_words_are_kept_short(tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\nprintf '\\377\\033]0;x\\007'; head -c 100000 /dev/zero | tr '\\0' v\n")
    script.chmod(0o755)
    said = compiler_version((str(script),))
    assert said.isprintable() and len(said) < 310
    script.write_text("no script that a system runs")
    compiler_version.cache_clear()
    with pytest.raises(BuildError, match="must run as a C compiler, got: Exec format error"):
        compiler_version((str(script),))


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ('echo garbage > "$OUT"', "got: .*(invalid ELF header|file too short)"),
        ('echo "int x;" > x.c; cc -shared -o "$OUT" x.c', "got: .*undefined symbol: net_arena"),
    ],
)
def test_a_library_that_is_none_is_not_kept(
    compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, cache: Path, does: str, message: str
) -> None:
    plan = plan_rows(residual(5, 5, 1))
    compiler(does)
    with pytest.raises(BuildError, match=f"the C compiler must make a library with net_arena, .*{message}"):
        Program(plan)
    assert not list(cache.glob("programs/*/*.so"))
    monkeypatch.delenv("CC")
    Program(plan).run(random_image(plan.graph))


@pytest.mark.parametrize("output", ["", "\n \n", "warning\nlast", "\0\0", "a" * 10**6, "error: " + "\u202e" * 999])
def test_first_error_is_short_and_printable(output: str) -> None:
    said = first_error(output)
    assert said and said.isprintable() and len(said) < 310


def test_interrupted_builds_end_soon(compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one file fails, those that still compile are not waited for."""
    compiler('case "$OUT" in one*) echo "error: one"; exit 1;; *) sleep 1000;; esac')
    monkeypatch.setattr(build.os, "cpu_count", lambda: 2)
    start = time.monotonic()
    with pytest.raises(BuildError, match="error: one"):
        build_library({**SOURCE, "two.c": "int two;\n"})
    assert time.monotonic() - start < 10


# -- threads -----------------------------------------------------------------------------------------------------------


def test_threads_take_turns_in_a_library() -> None:
    """Two programs of one plan have one library, and so one arena; all of its ways in are held."""
    plan = plan_rows(residual(12, 12, 2))
    images = [random_image(plan.graph, seed) for seed in range(4)]
    both = Program(plan), Program(plan)
    traced = Program(plan, trace=True), Program(plan, trace=True)
    expected = [both[0].run(image)[0].copy() for image in images]
    values = [traced[0].trace(image) for image in images]
    touched = both[0].touched_bytes(images[0])
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(60):
            at = (turn + number) % len(images)
            for way in (both[number % 2].run, both[number % 2].push):
                if not np.array_equal(way(images[at])[0], expected[at]):
                    wrong.append(f"{way.__name__}, image {at}")
            made = traced[number % 2].trace(images[at])
            wrong.extend(name for name, array in made.items() if not np.array_equal(array, values[at][name]))
            if turn % 20 == number and both[0].touched_bytes(images[at]) != touched:
                wrong.append("touched")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_each_library_has_a_lock_of_its_own() -> None:
    plans = [plan_rows(residual(5, 5, channels)) for channels in (1, 2)]
    one, again, other = Program(plans[0]), Program(plans[0]), Program(plans[1])
    assert one._lock is again._lock
    assert one._lock is not other._lock
    assert isinstance(one._library, ctypes.CDLL)


@pytest.mark.parametrize("name", ["clang", "gcc"])
def test_compilers_take_weights_as_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("CC", name)
    graph = residual(5, 5, 3)
    assert check_outputs(graph, plan_rows(graph), [random_image(graph)])


def test_a_header_that_changes_makes_new_objects_whoever_includes_it() -> None:
    """One that a header of the same folder includes by its last name, under a header that the source includes."""

    def made(number: int) -> int:
        files = {
            "one.c": '#include "one.h"\nint one(void) { return NUMBER; }\n',
            "one.h": '#include "kernels/outer.h"\nint one(void);\n',
            "kernels/outer.h": '#include "inner.h"\n',
            "kernels/inner.h": f"#define NUMBER {number}\n",
        }
        return load_library(build_library(files), ["one"]).one()

    assert (made(1), made(2)) == (1, 2)
