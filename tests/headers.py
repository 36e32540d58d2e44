"""Vector headers that the compiler has read before: <immintrin.h> takes it longer than a small program does."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from rillet.system import build

_FOLDER = "RILLET_TEST_HEADERS"
_HEADER = "vectors.h"
_plain = build._compile
_lock = threading.Lock()
_seen: set[tuple[str, ...]] = set()


def install(config: pytest.Config) -> None:
    """From now on, programs with AVX are compiled with it; their object files are the same, byte for byte.

    The first process makes a folder for it, which those that xdist starts share, and removes it in the end.
    """
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="rillet-headers-")
        (Path(os.environ[_FOLDER]) / _HEADER).write_text("#include <immintrin.h>\n")
        config.add_cleanup(_remove)
    build._compile = _compile


def _remove() -> None:
    shutil.rmtree(os.environ.pop(_FOLDER))


def _compile(command: Sequence[str], work: Path, product: str, stop: threading.Event | None = None) -> None:
    if "-mavx2" in command and "-c" in command and "net_weights.c" not in command:
        flags = tuple(word for word in command[: command.index("-c")] if not word.startswith("-D"))
        command = [*command, *_included(flags)]
    _plain(command, work, product, stop)


def _included(flags: tuple[str, ...]) -> tuple[str, ...]:
    """What gcc must be told to take the header in; made when the same flags come for the second time."""
    header = Path(os.environ[_FOLDER]) / _HEADER
    made = Path(f"{header}.gch") / build.key_of(flags)
    with _lock:
        if not made.exists():
            if flags not in _seen or not _is_gcc():
                _seen.add(flags)
                return ()
            made.parent.mkdir(exist_ok=True)
            subprocess.run([*flags, "-x", "c-header", "-o", f"{made}.{os.getpid()}", header], check=True)
            Path(f"{made}.{os.getpid()}").rename(made)
    return ("-include", str(header))


def _is_gcc() -> bool:
    """Others keep such headers in another way."""
    return re.match(r"\S+ \(.*\) \d+\.", build.compiler_version(build.find_compiler())) is not None
