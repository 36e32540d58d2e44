"""Atomic writes of files."""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rillet.errors import BuildError
from rillet.system.parts import EXCLUSIVE, move, new_part, sweep, sync_folder, temporary_folder, write

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/\d+/fd")
_MOST_LINKS = 40


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Puts `data` at `path`: a failure or a kill at any moment leaves the old file or the new one.

    A link is followed to its file, whose permissions stay; what is no file on a disk (a pipe, /dev/stdout, /dev/null)
    is written straight. Raises BuildError where it cannot be written; what was there before is still there then.
    """
    try:
        target = followed(path)
        stream = _stream(target, path)
        if stream is None:
            _replace(target, data)
            return
        try:
            write(stream, data)
        finally:
            os.close(stream)
    except OSError as error:
        raise BuildError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def written_by_program(path: Path) -> Generator[Path]:
    """Where a program shall write what then takes its place at `path`, whole: where it fails, the old file stays.

    The place lies beside `path`, or, where that is no file on a disk, in the folder of temporary files. Raises
    BuildError where it cannot be written.
    """
    try:
        with ExitStack() as stack:
            target = followed(path)
            stream = _stream(target, path)
            if stream is not None:
                stack.callback(os.close, stream)
            there = target.stat() if stream is None and target.exists() else None
            if there is not None and not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            beside = target.parent if stream is None else Path(tempfile.gettempdir())
            part = stack.enter_context(temporary_folder(beside)) / "made"
            yield part
            if stream is not None:
                _copy(part, stream)
                return
            if there is not None:
                part.chmod(stat.S_IMODE(there.st_mode))
            move(part, target)
    except OSError as error:
        raise BuildError(f"{path}: cannot be written: {error.strerror}") from None


def _copy(part: Path, stream: int) -> None:
    with open(part, "rb") as made:
        while data := made.read(1 << 20):
            write(stream, data)


def followed(path: Path) -> Path:
    """Where the links at the end of a path lead to, or up to the name of a descriptor (/dev/stdout is such a link).

    A planted link is not followed: one of another user in a folder where all may write, as Linux guards its own opens
    (fs.protected_symlinks).
    """
    at = path
    for _ in range(_MOST_LINKS):
        if _names_descriptor(at):
            return at
        try:
            about = at.lstat()
        except FileNotFoundError:
            return at
        if not stat.S_ISLNK(about.st_mode):
            return at
        above = at.parent.stat()
        open_to_all = above.st_mode & stat.S_ISVTX and above.st_mode & stat.S_IWOTH
        if open_to_all and about.st_uid not in (os.geteuid(), above.st_uid):
            raise BuildError(f"{path}: must not be a link that another user made")
        at = at.parent / at.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _names_descriptor(path: Path) -> bool:
    return path.name.isdigit() and _DESCRIPTORS.fullmatch(os.path.realpath(path.parent)) is not None


def _stream(target: Path, path: Path) -> int | None:
    """What is written straight, opened; None for a file and where nothing is. `path` is what the user said."""
    if _names_descriptor(target):
        return os.dup(int(target.name))  # opened anew, a file would be written from its beginning
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    raise BuildError(f"{path}: must be a file, got {'a folder' if stat.S_ISDIR(mode) else 'a socket or a disk'}")


def _replace(target: Path, data: bytes | memoryview) -> None:
    sweep(target.parent)
    try:
        there = target.stat()
    except FileNotFoundError:
        there = None
    if there is not None and not os.access(target, os.W_OK):
        # A rename asks for the folder's permission alone; a file that is kept from writing stays.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = 0o666 if there is None else 0o600
    part, descriptor = new_part(target.parent, lambda part: os.open(part, EXCLUSIVE, mode))
    try:
        write(descriptor, data)
        if there is not None:
            if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(OSError):
                    os.fchown(descriptor, there.st_uid, there.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
        os.fsync(descriptor)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_folder(target.parent)
