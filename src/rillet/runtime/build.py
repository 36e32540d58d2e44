"""Builds emitted programs: finds a C compiler, compiles each file once, and keeps the results by content."""

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from rillet.errors import BuildError

FLAGS = ("-O3", "-std=c99", "-Wall", "-Wextra", "-Werror")
COMPILE_SECONDS = 600


def cache_folder() -> Path:
    """Where builds are kept: $RILLET_CACHE, else `rillet` in the user's cache folder."""
    own = os.environ.get("RILLET_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rillet"


def find_compiler() -> tuple[str, ...]:
    """The command of a C compiler: $CC, cc, clang, gcc, or the ziglang wheel; raises BuildError where there is none."""
    own = os.environ.get("CC", "").strip()
    if own:
        command = tuple(shlex.split(own))
        if shutil.which(command[0]) is None:
            raise BuildError(f"CC must be a C compiler on this machine, got {own!r}")
        return command
    for name in ("cc", "clang", "gcc"):
        found = shutil.which(name)
        if found:
            return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise BuildError("a C compiler must be on this machine, got none: install gcc or clang, or pip install ziglang")


@cache
def compiler_version(command: tuple[str, ...]) -> str:
    """The first line that the compiler says of itself."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: must run as a C compiler, got {error}") from None
    return (done.stdout or done.stderr).partition("\n")[0]


def build_library(files: Mapping[str, str], flags: Sequence[str] = (), defines: Sequence[str] = ()) -> Path:
    """A shared library of the program, without its main.c; from the cache where it was built before."""
    sources = [name for name in files if name.endswith(".c") and name != "main.c"]
    return _build(files, sources, (*FLAGS, "-fPIC", *flags), defines, ("-shared",), "net.so")


def build_program(files: Mapping[str, str], flags: Sequence[str] = (), defines: Sequence[str] = ()) -> Path:
    """An executable of the program, main.c included; from the cache where it was built before."""
    sources = [name for name in files if name.endswith(".c")]
    return _build(files, sources, (*FLAGS, *flags), defines, (), "net")


def _build(
    files: Mapping[str, str],
    sources: Sequence[str],
    flags: Sequence[str],
    defines: Sequence[str],
    link: Sequence[str],
    product: str,
) -> Path:
    command = find_compiler()
    # zig has other names for processors, and knows the one that it runs on by itself.
    known = (flag for flag in flags if "ziglang" not in command or not flag.startswith("-march="))
    flags = (*known, *(f"-D{name}" for name in defines))
    headers = {name: text for name, text in files.items() if name.endswith(".h")}
    identity = [compiler_version(command), *command, *flags]
    keys = {source: _key([*identity, source, files[source], *_used(files[source], headers)]) for source in sources}
    folder = cache_folder()
    made = folder / "programs" / _key([*identity, *link, *keys.values()]) / product
    if made.exists():
        return made
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as name:
            work = Path(name)
            for file, text in files.items():
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                (work / file).write_text(text)
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                jobs = [pool.submit(_object, command, flags, work, source, folder, keys[source]) for source in sources]
                objects = [str(job.result()) for job in jobs]
            _compile([*command, *flags, *link, "-o", str(work / product), *objects, "-lm"], work)
            made.parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / product, made)
    except OSError as error:
        raise BuildError(f"{folder}: must be writable for builds, got: {error.strerror}") from None
    return made


def _used(source: str, headers: Mapping[str, str]) -> list[str]:
    """The texts of all headers that a source may include: weights include none of the kernels."""
    return [text for name, text in headers.items() if f'"{name}"' in source or '"kernels/' in source]


def _object(command: Sequence[str], flags: Sequence[str], work: Path, source: str, folder: Path, key: str) -> Path:
    kept = folder / "objects" / f"{key}.o"
    if kept.exists():
        return kept
    out = work / f"{source}.o"
    # Data needs no optimiser, and is the largest file.
    speed = ("-O0",) if source == "net_weights.c" else ()
    _compile([*command, *flags, *speed, "-c", source, "-o", str(out)], work)
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(out, kept)
    return kept


def _compile(command: Sequence[str], work: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{command[0]}: must finish within {COMPILE_SECONDS} s") from None
    if done.returncode:
        raise BuildError(f"{command[0]}: {first_error(done.stderr)}")


def first_error(output: str) -> str:
    """The line of a compiler's output that tells what is wrong, with its file."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"(fatal )?error:", r"No space left", r"undefined reference", r"error"):
        for line in lines:
            if re.search(pattern, line):
                return line
    return lines[-1] if lines else "stopped without a message"


def _key(parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.encode())
    return digest.hexdigest()[:32]
