"""Builds programs: finds a C or C++ compiler, compiles each file once, and keeps the results by content."""

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import BinaryIO

from rillet.errors import BuildError
from rillet.system.cache import keep, kept, key_of, trim, workshop

_DOUBTFUL = (
    "-Wno-stringop-overflow",
    "-Wno-stringop-overread",
    "-Wno-array-bounds",
    "-Wno-aggressive-loop-optimizations",
)
_UNKNOWN = ("-Wno-unknown-warning-option", "-Wno-unused-command-line-argument")
FLAGS = ("-O3", "-std=c99", "-Wall", "-Wextra", "-Werror", *_UNKNOWN, *_DOUBTFUL)
"""gcc 12 warns of loads, stores and loops past arrays on paths that never run; others do not know all these, and clang
says of assembly that it uses no standard of C."""
SECONDS = "RILLET_COMPILE_SECONDS"
"""The environment variable that says how long a compiler may take for one file."""
COMPILE_SECONDS = 600.0
"""The default timeout of a compiler run."""
KEPT_BYTES = 2**16
"""Of what a compiler prints, so much of the beginning and as much of the end are looked at."""
_SHOWN = 300
"""Characters of it that a message has."""
_SOURCES = (".c", ".s", ".S", ".cpp")
_TICK_SECONDS = 0.1
_GRACE_SECONDS = 1.0
"""For the output that is still on its way when the compiler has ended."""


def find_compiler(portable: bool = False) -> tuple[str, ...]:
    """The command of a C compiler: $CC, clang, cc, gcc, or the ziglang wheel; raises BuildError where there is none.

    clang comes first: it takes two thirds of gcc's time, and what it makes is as fast or faster (docs/host.md). Last of
    these for `portable` C, without vectors of its own: of its loops gcc makes faster ones.
    """
    return _found("CC", "C", ("cc", "gcc", "clang") if portable else ("clang", "cc", "gcc"), "cc")


def find_cxx_compiler() -> tuple[str, ...]:
    """The command of a C++ compiler: $CXX, c++, clang++, g++, or the ziglang wheel; raises BuildError without one."""
    return _found("CXX", "C++", ("c++", "clang++", "g++"), "c++")


def _found(variable: str, language: str, names: Sequence[str], zig: str) -> tuple[str, ...]:
    own = os.environ.get(variable, "").strip()
    if own:
        try:
            command = tuple(shlex.split(own))
        except ValueError as error:
            raise BuildError(f"{variable} must be a command as a shell takes it, got {own!r}: {error}") from None
        if not command or shutil.which(command[0]) is None:
            raise BuildError(f"{variable} must be a {language} compiler on this machine, got {own!r}")
        # It runs in another folder than ours.
        return (str(Path(command[0]).absolute()), *command[1:]) if os.sep in command[0] else command
    for name in names:
        found = shutil.which(name)
        if found:
            return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", zig)
    compilers = " or ".join(sorted(set(names) - {zig}, reverse=True))
    raise BuildError(
        f"a {language} compiler must be on this machine, got none: install {compilers}, or pip install ziglang"
    )


@cache
def compiler_version(command: tuple[str, ...]) -> str:
    """The first line that the compiler says of itself; raises BuildError where it does not run."""
    return shown_line(run_tool([*command, "--version"], Path.cwd())[1].strip().partition("\n")[0])


def compiler_facts(command: tuple[str, ...]) -> list[str]:
    """What tells a compiler's results from another's: command, version, and the machine that it is on."""
    return [compiler_version(command), *command, sys.platform, platform.machine()]


def build_library(
    files: Mapping[str, str],
    flags: Sequence[str] = (),
    defines: Sequence[str] = (),
    data: Mapping[str, list[memoryview]] = MappingProxyType({}),
    *,
    portable: bool = False,
) -> Path:
    """A shared library of the program, without its main.c; from the cache where it was built before.

    data: files that the assembler includes, each as the pieces that it is made of; taken, as `build` does.
    portable: the program has no vectors of its own (see `find_compiler`).
    """
    sources = [name for name in files if name.endswith((".c", ".s")) and name != "main.c"]
    command = find_compiler(portable)
    known = _flags(command, (*FLAGS, "-fPIC", *flags), defines)
    return build(command, files, sources, known, ("-shared",), "net.so", data=data)


def build_program(files: Mapping[str, str], flags: Sequence[str] = (), defines: Sequence[str] = ()) -> Path:
    """An executable of the program, main.c included; from the cache where it was built before."""
    sources = [name for name in files if name.endswith(".c")]
    command = find_compiler()
    return build(command, files, sources, _flags(command, (*FLAGS, *flags), defines), (), "net")


def _flags(command: Sequence[str], flags: Sequence[str], defines: Sequence[str]) -> tuple[str, ...]:
    """Flags as a compiler takes them."""
    # zig has other names for processors, and knows the one that it runs on by itself.
    zig = "ziglang" in command
    known = (flag for flag in flags if not zig or not flag.startswith("-march="))
    return (*known, *(f"-D{name}" for name in defines))


def build(
    command: tuple[str, ...],
    files: Mapping[str, str],
    sources: Sequence[str],
    flags: Sequence[str],
    link: Sequence[str],
    product: str,
    libraries: Sequence[str] = ("-lm",),
    *,
    key: str | None = None,
    jobs: int | None = None,
    data: Mapping[str, list[memoryview]] = MappingProxyType({}),
) -> Path:
    """The file `product` as a compiler makes it of these sources; from the cache where it was made before.

    files: sources, headers, and what `link` names, by their names in the folder that the compiler runs in.
    key: under which it is kept, where that is known before its sources. jobs: files compiled at a time.
    data: files that assembler sources include, each as the pieces that it is made of; these lists are emptied when they
    are written, so that no compiler runs beside a second copy of all weights.
    """
    headers = {name: text for name, text in files.items() if name.endswith(".h")}
    others = [text for name, text in files.items() if not name.endswith((".h", *_SOURCES))]
    identity = [*compiler_facts(command), *flags, *_assembler(command)]
    sums = {name: _digest(pieces) for name, pieces in data.items()}

    def key_of_object(source: str) -> str:
        text = files[source]
        included = [part for name, checksum in sums.items() if f'"{name}"' in text for part in (name, checksum)]
        return key_of([*identity, source, text, *_used(text, headers), *included])

    keys = {source: key_of_object(source) for source in sources}
    key = key or key_of([*identity, *link, *libraries, *others, *keys.values()])
    made = kept("programs", key, Path(product).suffix)
    if made is not None:
        return made
    try:
        with workshop() as work:
            for file, text in files.items():
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                (work / file).write_text(text, encoding="utf-8")
            for file, pieces in data.items():
                with (work / file).open("wb") as out:
                    out.writelines(pieces)
                pieces.clear()
            objects = _objects([*command, *flags], work, keys, jobs or os.cpu_count() or 1)
            _compile([*command, *flags, *link, "-o", product, *map(str, objects), *libraries], work, product)
            made = keep(work / product, "programs", key)
        trim()
    except OSError as error:
        raise BuildError(f"{error.filename or 'cache'}: must be writable for builds, got: {error.strerror}") from None
    return made


def _digest(pieces: Sequence[memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _used(source: str, headers: Mapping[str, str]) -> list[str]:
    """The texts of all headers that a source may include: weights include none of the kernels."""
    if '"kernels/' in source:
        return list(headers.values())
    found: dict[str, str] = {}
    look = [source]
    while look:
        text = look.pop()
        # Headers of one folder include each other by their last names.
        more = {
            name: one
            for name, one in headers.items()
            if name not in found and (f'"{name}"' in text or f'"{PurePosixPath(name).name}"' in text)
        }
        found |= more
        look += more.values()
    return [found[name] for name in sorted(found)]


def _objects(command: Sequence[str], work: Path, keys: Mapping[str, str], most: int) -> list[Path]:
    """The object files of all sources, several at a time; where one fails, or the user stops it, all end."""
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=most) as pool:
        jobs = [pool.submit(_object, command, work, source, key, stop) for source, key in keys.items()]
        try:
            return [job.result() for job in jobs]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _object(command: Sequence[str], work: Path, source: str, key: str, stop: threading.Event) -> Path:
    made = kept("objects", key, ".o")
    if made is not None:
        return made
    out = f"{source}.o"
    # Data needs no optimiser, and is the largest file.
    more = ("-O0",) if source == "net_weights.c" else _assembler(command) if source.endswith(".s") else ()
    _compile([*command, *more, "-c", source, "-o", out], work, out, stop)
    return keep(work / out, "objects", key)


def _assembler(command: Sequence[str]) -> tuple[str, ...]:
    """What is said where a file of assembly is only data: clang's own assembler takes 2.5 times as much memory as they
    have bytes, that of a Linux system 1.
    """
    own = Path(command[0]).name.startswith("clang") and not any(word.startswith("--target") for word in command)
    return ("-fno-integrated-as",) if own and sys.platform == "linux" and shutil.which("as") else ()


# -- the compiler as a process -----------------------------------------------------------------------------------------


def _compile(command: Sequence[str], work: Path, product: str, stop: threading.Event | None = None) -> None:
    """Runs a compiler that is to make the file `product` in `work`; raises BuildError where it does not."""
    code, said = run_tool(command, work, stop=stop)
    if code:
        raise BuildError(f"{command[0]}: {first_error(said)}")
    made = work / product
    if made.is_symlink() or not made.is_file() or not made.stat().st_size:
        raise BuildError(f"{command[0]}: must make {product}, got exit code 0 and no such file")


def run_tool(
    command: Sequence[str],
    work: Path,
    *,
    what: str = "a C compiler",
    more: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    seconds: float | None = None,
) -> tuple[int, str]:
    """Exit code and output of a compiler, of which the first and last KEPT_BYTES are kept.

    what: it is called so where it does not run. more: environment variables beside this process's own. seconds: how
    long it may take, a compiler's time by default.
    Raises BuildError where it cannot be run, takes longer than it may, or `stop` is set.
    """
    seconds = seconds or compile_seconds()
    try:
        # A session of its own: what it started ends with it.
        process = subprocess.Popen(
            command,
            cwd=work,
            env={**os.environ, **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise BuildError(f"{command[0]}: must run as {what}, got: {getattr(error, 'strerror', error)}") from None
    assert process.stdout is not None
    said = bytearray()
    reader = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
    reader.start()
    until = time.monotonic() + seconds
    try:
        while process.poll() is None:
            if time.monotonic() > until:
                raise BuildError(f"{command[0]}: must finish within {seconds:g} s ({SECONDS} says otherwise)")
            if stop is not None and stop.is_set():
                raise BuildError(f"{command[0]}: was stopped")
            if reader.is_alive():
                reader.join(_TICK_SECONDS)  # its output ends when it does
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_TICK_SECONDS)
    finally:
        if process.poll() is None:
            end_process(process)
        reader.join(_GRACE_SECONDS)
        if reader.is_alive():
            end_process(process)  # something that it started has its output still
            reader.join(_GRACE_SECONDS)
        if not reader.is_alive():
            process.stdout.close()
    return process.returncode, bytes(said).decode("utf-8", "replace")


def _listen(pipe: BinaryIO, said: bytearray) -> None:
    """Reads all that comes, and keeps its beginning and its end."""
    with contextlib.suppress(OSError, ValueError):
        while piece := os.read(pipe.fileno(), KEPT_BYTES):
            said += piece
            del said[KEPT_BYTES : max(KEPT_BYTES, len(said) - KEPT_BYTES)]


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def compile_seconds(default: float = COMPILE_SECONDS) -> float:
    """How long a compiler may take for one file, or another tool: $RILLET_COMPILE_SECONDS, else `default`."""
    own = os.environ.get(SECONDS, "").strip()
    if not own:
        return default
    try:
        seconds = float(own)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 1e6:
        raise BuildError(f"{SECONDS} must be seconds above 0 and at most 1e6, got {own!r}")
    return seconds


def first_error(output: str) -> str:
    """The line of a tool's output that tells what is wrong, with its file; shortened, and safe to print."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"(fatal )?error:", r"%?(Error|ERROR)\b.*:", r"No space left", r"undefined reference", r"error"):
        for line in lines:
            if re.search(pattern, line):
                return shown_line(line)
    return shown_line(lines[-1]) if lines else "stopped without a message"


def shown_line(line: str) -> str:
    """A line of another program's as a message may have it."""
    start = line[:_SHOWN]
    plain = start if start.isprintable() else ascii(start)[1:-1][:_SHOWN]
    return plain if len(line) <= _SHOWN else f"{plain}..."
