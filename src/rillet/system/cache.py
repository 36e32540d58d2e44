"""The cache: its location, the checks that make its entries trustworthy, storage by checksum, and eviction.

A library out of the cache is code that runs. So an entry counts only if it, and every folder above it up to the cache's
root, belongs to this user and nobody else may write it; and nobody else may put another folder in the root's place.
Where that is not so, or where nothing can be written, a private folder serves until the program ends.

An entry is named by its own checksum, in a folder named by the checksum of its inputs. So damage is detected and the
entry rebuilt, and processes that build the same at once store the same.
"""

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import warnings
from collections.abc import Generator, Iterable
from pathlib import Path

from rillet.errors import BuildError, RilletError, RilletWarning
from rillet.system.reading import MODEL_BYTES, open_file

MOST_BYTES = 2 << 30
"""Bytes of builds that are kept; beyond, those go that have not been used for longest."""
LEFT_SECONDS = 24 * 3600.0
"""Age of a folder in which nobody builds any more."""
KEPT = ("objects", "programs", "ready", "synthesis")
"""Folders of what is kept by content."""
BUILDING = "building"
"""The folder in which things are made; what a killed program leaves there is removed by another one, later."""
MARKER = ".rillet"
"""An empty folder in each folder that Rillet made and may remove things from."""
_LEFT = "rillet-"
_KEY, _FILE = re.compile("[0-9a-f]{32}"), re.compile(r"[0-9a-f]{32}(\.\w{1,8})?")
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_instead: dict[Path, Path] = {}
"""The private folder that serves instead of a cache."""
_lock = threading.RLock()


def cache_folder() -> Path:
    """Where to look for what is kept: $RILLET_CACHE, else `rillet` in the user's cache folder; nothing is made here.

    A private folder instead, with a RilletWarning the first time, where another user could write the cache.
    """
    root = _wanted()
    with _lock:
        found = _instead.get(root)
        if found is not None:
            return found
        why = _doubt(root, root)
        return root if why is None else _private(root, why)


def wanted_folder() -> tuple[Path, str | None]:
    """The cache that the user means, and why it cannot be trusted, if so; nothing is made, and nothing is warned of."""
    root = _wanted()
    return root, _doubt(root, root)


def room(kind: str) -> Path:
    """The folder of a kind of things in the cache, to write to: made where it is not there.

    A private one instead, with a RilletWarning the first time, where the cache cannot be written or trusted. Raises
    BuildError where there is no place for a private one.
    """
    root = cache_folder()
    place = root / kind
    try:
        made = _make(place)
        why = _doubt(root, place)
        if why is None and not os.access(place, os.W_OK | os.X_OK):
            why = "must be writable"
        elif why is None and kind in (*KEPT, BUILDING):
            _mark(place, made)
    except OSError as error:
        why = f"must be writable, got: {error.strerror}"
    if why is None:
        return place
    _private(root, why)
    return room(kind)


@contextlib.contextmanager
def workshop() -> Generator[Path]:
    """A folder of one's own within the cache, to make something in; it goes at the end."""
    with tempfile.TemporaryDirectory(dir=room(BUILDING), prefix=_LEFT, ignore_cleanup_errors=True) as name:
        yield Path(name)


def kept(kind: str, key: str, suffix: str) -> Path | None:
    """The file under a key whose bytes are those that were put there; others of this suffix are removed."""
    root = cache_folder()
    place = root / kind / key
    try:
        found = sorted(file for file in place.iterdir() if file.suffix == suffix)
    except OSError:
        return None
    for file in found:
        why = _doubt(root, file)
        if why is not None:
            _private(root, why)
            return None
        try:
            if file.stem == _checksum(file):
                _used_now(file)
                return file
            file.unlink()
        except (OSError, RilletError):
            continue
    return None


def keep(made: Path, kind: str, key: str) -> Path:
    """Moves a file under its key, by its checksum; raises OSError where that cannot be done."""
    # Whatever the umask: what others may write does not count.
    made.chmod(stat.S_IMODE(made.stat().st_mode) & ~_OTHERS)
    name = f"{_checksum(made)}{made.suffix}"
    while True:
        place = room(kind) / key
        _make(place)
        why = _doubt(cache_folder(), place)
        if why is not None:
            _private(cache_folder(), why)
            continue
        try:
            # A rename, unless a private folder on another disk has come in between.
            return Path(shutil.move(made, place / name))
        except FileNotFoundError:
            # Another process that trimmed took the folder for an empty one.
            if not made.exists():
                raise


def forget(file: Path) -> None:
    """Removes a kept file that turned out to be of no use."""
    with contextlib.suppress(OSError):
        file.unlink()


def trim() -> None:
    """Removes what has not been used for longest, until at most MOST_BYTES are kept, and what killed programs left.

    Only from folders with Rillet's marker, and only what is called as Rillet calls it.
    """
    root = cache_folder()
    for left in _marked(root / BUILDING, f"{_LEFT}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    found: list[tuple[float, int, Path]] = []
    for kind in KEPT:
        for file in _marked(root / kind, "*/*"):
            if not _KEY.fullmatch(file.parent.name) or not _FILE.fullmatch(file.name) or file.parent.is_symlink():
                continue
            with contextlib.suppress(OSError):
                about = file.lstat()
                if stat.S_ISREG(about.st_mode):
                    found.append((max(about.st_atime, about.st_mtime), about.st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= MOST_BYTES:
            break
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()
        total -= size


def key_of(parts: Iterable[str]) -> str:
    """A name for all these texts together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def _wanted() -> Path:
    """The cache that the user means, links followed: what is looked at then is what is used."""
    own, base = os.environ.get("RILLET_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(os.path.realpath(own))
    try:
        return Path(os.path.realpath((Path(base) if base else Path.home() / ".cache") / "rillet"))
    except RuntimeError:  # a user without a home: a place that cannot be made, so that a private one serves
        return Path(os.devnull) / "rillet"


def _doubt(root: Path, path: Path) -> str | None:
    """Why `path`, at `root` or below it, cannot be trusted; None where it can, or where nothing is there.

    Where users have no numbers (Windows), the user's own folders are other users' by no means, and nothing is asked.
    """
    if not hasattr(os, "getuid"):
        return None
    me = os.getuid()
    below = [path, *path.parents][: len(path.parts) - len(root.parts) + 1]
    try:
        for place in below:
            about = place.lstat()
            if about.st_uid != me:
                return f"must belong to this user alone, got {place} of user {about.st_uid}"
            if stat.S_ISLNK(about.st_mode):
                return f"must have no links in it, got {place}"
            if about.st_mode & _OTHERS:
                return f"must be writable by this user alone, got {place} of mode {stat.S_IMODE(about.st_mode):o}"
        for place in root.parents:
            about = place.lstat()
            if about.st_uid not in (0, me):
                return f"must lie in folders of this user, got {place} of user {about.st_uid}"
            if about.st_mode & _OTHERS and not about.st_mode & stat.S_ISVTX:
                return f"must lie where nobody else can move it, got {place} of mode {stat.S_IMODE(about.st_mode):o}"
    except OSError:
        return None
    return None


def _private(root: Path, why: str) -> Path:
    """The private folder that serves instead of `root` until the program ends; says so the first time."""
    with _lock:
        if root in _instead:
            return _instead[root]
        if root in _instead.values():
            raise BuildError(f"{root}: cache {why}")
        try:
            made = Path(tempfile.mkdtemp(prefix=_LEFT)).resolve()
        except OSError as error:
            raise BuildError(f"{root}: cache {why}; nor can a private one be made: {error.strerror}") from None
        doubt = _doubt(made, made)
        if doubt is not None:
            made.rmdir()
            raise BuildError(f"{root}: cache {why}; nor has TMPDIR a place for a private one: it {doubt}")
        _instead[root] = made
        atexit.register(_remove, made, os.getpid())
    said = f"{root}: cache {why}; a private one is used until this program ends"
    warnings.warn(RilletWarning(said), stacklevel=2)
    return made


def _remove(folder: Path, owner: int) -> None:
    """Removes a private folder, in the program that made it and not in a fork of it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path) -> bool:
    """Makes a folder, and those above it, for this user alone; False where it was there."""
    try:
        folder.mkdir(0o700)
    except FileNotFoundError:
        _make(folder.parent)
        folder.mkdir(0o700, exist_ok=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def _mark(place: Path, made: bool) -> None:
    """Marks a folder as Rillet's, if it was made now or nobody has put anything into it."""
    if (place / MARKER).exists() or not (made or not any(place.iterdir())):
        return
    with contextlib.suppress(FileExistsError):
        (place / MARKER).mkdir(0o700)


def _marked(place: Path, pattern: str) -> list[Path]:
    """What lies in a folder that has Rillet's marker."""
    try:
        return list(place.glob(pattern)) if (place / MARKER).is_dir() else []
    except OSError:
        return []


def _checksum(file: Path) -> str:
    with open_file(file, MODEL_BYTES) as data:
        return hashlib.file_digest(data, "sha256").hexdigest()[:32]


def _used_now(file: Path) -> None:
    """The time of the last use is the file's access time, which is not told by itself everywhere."""
    with contextlib.suppress(OSError):
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))
