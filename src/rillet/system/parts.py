"""Temporary files beside their target: with an unguessable name, opened exclusively, and locked while written.

The lock goes with the process: what is called so and is not locked was left by a killed one, and is swept by the next.
"""

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PART = re.compile(r"\.rillet-([0-9a-f]{32})\.part")
_TOKEN = "token"
_LEFT_SECONDS = 24 * 3600.0
"""Age of what is left over where the file system knows no locks."""
EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def temporary_folder(parent: Path) -> Generator[Path]:
    """A folder within `parent`, this user's alone, that is removed at the end; what killed writers left goes first.

    Raises OSError where it cannot be made.
    """
    sweep(parent)
    part, descriptor = new_part(parent, _open_folder)
    try:
        create(part / _TOKEN, _token(part))
        (part / "work").mkdir()
        yield part / "work"
    finally:
        _remove_folder(part)
        os.close(descriptor)


def move(made: Path, target: Path) -> None:
    """Puts what was made in a temporary folder in its place by one rename; raises OSError where it cannot be."""
    os.replace(made, target)
    sync_folder(target.parent)


def sweep(folder: Path) -> None:
    """Removes what killed writers of this user left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _PART.fullmatch(entry.name)]
        for part in left:
            with suppress(OSError):
                _sweep_one(part)


def new_part(parent: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """What `make` makes and opens, under a name of its own and locked."""
    while True:
        part = parent / f".rillet-{secrets.token_hex(16)}.part"
        descriptor = make(part)
        if _lock(descriptor) is not False and _is_at(part, descriptor):
            return part, descriptor
        os.close(descriptor)  # who sweeps was faster than the lock


def _open_folder(part: Path) -> int:
    part.mkdir(0o700)
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except BaseException:
        part.rmdir()
        raise


def _lock(descriptor: int) -> bool | None:
    """Whether the lock is ours now; None where the file system has none."""
    # Unix alone has it; imported here, so that the rest of the module can be read elsewhere.
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sweep_one(part: Path) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        about, lock = os.fstat(descriptor), _lock(descriptor)
        if about.st_uid != os.geteuid() or lock is False or not _is_at(part, descriptor):
            return
        if lock is None and time.time() - about.st_mtime < _LEFT_SECONDS:
            return
        if stat.S_ISREG(about.st_mode):
            part.unlink()
        elif stat.S_ISDIR(about.st_mode):
            _remove_folder(part)
    finally:
        os.close(descriptor)


def _token(part: Path) -> bytes:
    found = _PART.fullmatch(part.name)
    assert found is not None
    return found[1].encode()


def _remove_folder(part: Path) -> None:
    """Removes a temporary folder; another folder that somebody gave such a name has not its token, and stays."""
    token, work = part / _TOKEN, part / "work"
    with suppress(OSError):
        said = read_small(token, 64)
        if said == _token(part):
            shutil.rmtree(work, ignore_errors=True)
        # The token goes last, so that a kill in between leaves a folder that is still known; one was killed within it.
        if said is not None and _token(part).startswith(said) and not work.exists():
            token.unlink()
    with suppress(OSError):
        part.rmdir()


def create(path: Path, data: bytes) -> None:
    """A new file in a folder that is this process's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, EXCLUSIVE, 0o666)
    try:
        write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_small(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file of at most `most`; None for anything else, and where nothing is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = file.read(most + 1)
    return data if len(data) <= most else None


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the file system can: the files are whole without it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
