"""Reads files within bounds: regular files only, and never more bytes than a stated limit."""

import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from rillet.errors import GraphError, RilletError

MODEL_BYTES = 2**31
"""Bytes of a model, a checkpoint or a data set's file; formats may have a lower bound of their own."""
PICTURE_BYTES = 2**28
"""Bytes of a picture's file, packed; its pixels have a bound of their own."""
LIST_BYTES = 2**24
"""Bytes of the lists that come with a data set."""
LABEL_BYTES = TOML_BYTES = 2**20
HEAD_BYTES, TAIL_BYTES = 2**12, 2**17
"""Bytes of a file's beginning and end that are shown to whom knows by them what it cannot be."""
ZIP_START, ZIP_END = b"PK\3\4", b"PK\5\6"
"""What a zip file begins with, and what is in its last TAIL_BYTES."""
_PIECE_BYTES = 2**20
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A FIFO that nobody writes to would block indefinitely."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}

Look = Callable[[bytes, bytes, int], None]
"""Sees a file's first and last bytes and its size, and raises where it can be no file of the right kind."""


def open_file(
    path: Path,
    most: int,
    what: str = "a file",
    error: type[RilletError] = GraphError,
    follow: bool = True,
) -> BufferedReader:
    """A regular file of at most `most` bytes, opened to be read.

    Raises `error`, "PATH: must be WHAT, got ...", for folders, FIFOs, sockets and devices, for a longer file, for links
    where they are not to be followed, and where there is none or it cannot be opened.
    """
    try:
        # Looked at before: some devices act on being opened.
        _check(path.stat() if follow else path.lstat(), path, most, what, error)
        descriptor = os.open(path, _FLAGS | (0 if follow else _NO_LINK))
        try:
            # And again: it may be another one by now.
            _check(os.fstat(descriptor), path, most, what, error)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except FileNotFoundError:
        raise error(f"{path}: must be {what}, got no file") from None
    except OSError as found:
        raise error(f"{path}: cannot be read: {found.strerror}") from None
    except ValueError as found:  # a NUL in its name, or what no file system can name
        raise error(f"{path}: must be {what}, got no name of one ({found})") from None


def read_bytes(
    path: Path,
    most: int,
    what: str = "a file",
    error: type[RilletError] = GraphError,
    look: Look | None = None,
) -> bytes:
    """All of a regular file of at most `most` bytes; raises `error` as `open_file` does, and what `look` raises.

    `look` sees the beginning, the end and the size before the rest takes any memory.
    """
    with open_file(path, most, what, error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if look is not None:
                _show(file, size, look)
            data = file.read(size + 1) or b""
            if len(data) > size:
                data = _rest(file, data, most)
        except OSError as found:
            raise error(f"{path}: cannot be read: {found.strerror}") from None
    if len(data) > most:
        raise error(f"{path}: must be at most {most} bytes, got more")
    return data


def read_text(path: Path, most: int, what: str = "a file", error: type[RilletError] = GraphError) -> str:
    """All of a text file in UTF-8; raises `error` as `read_bytes` does, and for other bytes."""
    try:
        return read_bytes(path, most, what, error).decode()
    except UnicodeDecodeError:
        raise error(f"{path}: must be text in UTF-8") from None


def _check(about: os.stat_result, path: Path, most: int, what: str, error: type[RilletError]) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise error(f"{path}: must be {what}, got {_KINDS.get(stat.S_IFMT(about.st_mode), 'something else')}")
    if about.st_size > most:
        raise error(f"{path}: must be at most {most} bytes, got {about.st_size}")


def _show(file: BufferedReader, size: int, look: Look) -> None:
    head = file.read(HEAD_BYTES)
    file.seek(max(0, size - TAIL_BYTES))
    look(head, file.read(TAIL_BYTES), size)
    file.seek(0)


def _rest(file: BufferedReader, data: bytes, most: int) -> bytes:
    """What follows in a file that tells no size (as those of /proc), or that grows meanwhile."""
    out = bytearray(data)
    while len(out) <= most and (more := file.read(min(_PIECE_BYTES, most + 1))):
        out += more
    return bytes(out)
