"""Downloads of files with known size and checksum; an interrupted download resumes."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rillet.errors import GraphError
from rillet.system.reading import MODEL_BYTES, open_file

TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""What lies where the first part should be is never a way to another file."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at a public address, and how it is known."""

    name: str
    """As messages call it."""
    url: str
    sha256: str
    size_bytes: int
    otherwise: str
    """What a user without a network can do: `put FILE into ...`."""


def silent(done: int, total: int) -> None:
    """Progress that nobody sees."""


def download(remote: Remote, target: Path, progress: Progress = silent) -> None:
    """Puts the file at `target`, once its checksum is right.

    Raises GraphError, saying what to do, where there is no network or the bytes are not the published ones.
    """
    # Imported here: few runs download anything.
    import http.client
    import urllib.error

    part = target.with_suffix(target.suffix + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(remote, part, progress)
        digest = checksum(part)
        if digest != remote.sha256:
            part.unlink()
            raise GraphError(f"{remote.name}: must have sha256 {remote.sha256}, got {digest} from {remote.url}")
        os.replace(part, target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = str(getattr(error, "reason", error)).partition("\n")[0]
        raise GraphError(f"{remote.name}: cannot be downloaded ({reason}); {remote.otherwise}") from None
    except OSError as error:
        raise GraphError(f"{part}: cannot be written: {error.strerror}") from None


def checksum(path: Path) -> str:
    """The SHA-256 of a file; raises GraphError where it is none that can be read."""
    with open_file(path, MODEL_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(remote: Remote, part: Path, progress: Progress) -> None:
    import http.client
    import urllib.request

    done = part.lstat().st_size if part.exists() else 0
    if done >= remote.size_bytes:
        part.unlink()
        done = 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status != 206:
            done = 0  # the server sends the whole file
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if done else os.O_TRUNC) | _PLAIN
        with os.fdopen(os.open(part, flags, 0o600), "ab" if done else "wb") as out:
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > remote.size_bytes:
                    break  # the checksum will refuse it
                out.write(chunk)
                progress(done, remote.size_bytes)
    if done < remote.size_bytes:
        raise http.client.HTTPException(f"the connection ended after {done} of {remote.size_bytes} bytes")
