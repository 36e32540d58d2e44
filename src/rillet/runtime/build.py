"""Builds emitted programs: finds a C compiler, compiles each file once, and keeps the results by content.

What is kept is called by its own checksum, in a folder called by that of all that it was made of. So what is damaged is
seen and made again, and processes that make the same at once put the same in place.
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from rillet.errors import BuildError

FLAGS = ("-O3", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-warning-option", "-Wno-stringop-overflow")
"""gcc 12 warns of stores past the arena in loops that never run; other compilers do not know that warning."""
COMPILE_SECONDS = 600
MOST_BYTES = 2 << 30
"""Bytes of builds that are kept; beyond, those go that have not been used for longest."""
LEFT_SECONDS = 24 * 3600.0
"""Age of a folder in which nobody builds any more."""
KEPT = ("objects", "programs", "ready")


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


def compiler_facts(command: tuple[str, ...]) -> list[str]:
    """What tells a compiler's results from another's: command, version, and the machine that it is on."""
    return [compiler_version(command), *command, sys.platform, platform.machine()]


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
    identity = [*compiler_facts(command), *flags]
    keys = {source: key_of([*identity, source, files[source], *_used(files[source], headers)]) for source in sources}
    folder = cache_folder()
    place = folder / "programs" / key_of([*identity, *link, *keys.values()])
    made = kept(place, Path(product).suffix)
    if made is not None:
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
            made = keep(work / product, place)
        trim(folder)
    except OSError as error:
        raise BuildError(f"{folder}: must be writable for builds, got: {error.strerror}") from None
    return made


def _used(source: str, headers: Mapping[str, str]) -> list[str]:
    """The texts of all headers that a source may include: weights include none of the kernels."""
    return [text for name, text in headers.items() if f'"{name}"' in source or '"kernels/' in source]


def _object(command: Sequence[str], flags: Sequence[str], work: Path, source: str, folder: Path, key: str) -> Path:
    place = folder / "objects" / key
    made = kept(place, ".o")
    if made is not None:
        return made
    out = work / f"{source}.o"
    # Data needs no optimiser, and is the largest file.
    speed = ("-O0",) if source == "net_weights.c" else ()
    _compile([*command, *flags, *speed, "-c", source, "-o", str(out)], work)
    return keep(out, place)


def kept(place: Path, suffix: str) -> Path | None:
    """The file in the folder of a key whose bytes are those that were put there; others are removed."""
    try:
        found = [file for file in place.iterdir() if file.suffix == suffix]
    except OSError:
        return None
    for file in found:
        try:
            if file.stem == _checksum(file):
                _used_now(file)
                return file
            file.unlink()
        except OSError:
            continue
    return None


def keep(made: Path, place: Path) -> Path:
    """Moves a file into the folder of its key, under its checksum."""
    target = place / f"{_checksum(made)}{made.suffix}"
    while True:
        place.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(made, target)
            return target
        except FileNotFoundError:
            # Another process that trimmed took the folder for an empty one.
            if not made.exists():
                raise


def _checksum(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()[:32]


def _used_now(file: Path) -> None:
    """The time of the last use is the file's access time, which is not told by itself everywhere."""
    with contextlib.suppress(OSError):
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))


def trim(folder: Path) -> None:
    """Removes what has not been used for longest, until at most MOST_BYTES are kept, and what killed builds left."""
    for left in folder.glob("building-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    found: list[tuple[float, int, Path]] = []
    for kind in KEPT:
        for file in (folder / kind).rglob("*.*"):
            with contextlib.suppress(OSError):
                about = file.stat()
                found.append((max(about.st_atime, about.st_mtime), about.st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= MOST_BYTES:
            break
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()
        total -= size


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


def key_of(parts: Iterable[str]) -> str:
    """A name for all these texts together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogatepass")  # a file may be called by bytes that are no text
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]
