"""Atomic replacement of the folder of a program; a user's own files in it are kept."""

import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rillet.errors import BuildError
from rillet.system.checksums import manifest, read_manifest, sha256_of
from rillet.system.files import followed
from rillet.system.parts import create, read_small, sync_folder, temporary_folder

MANIFEST = ".rillet"
"""In a folder: the names and checksums of the files that Rillet wrote there, as `sha256sum -c` reads them."""
MOST_KEPT = 10_000
"""Files of the user's own that are brought along into a new folder."""
_MANIFEST_BYTES = 1 << 20
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_STEP = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2
_TRIES = 10
"""Times that a folder is written anew where other writers come between."""


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Makes `folder` one that holds `files`, texts or bytes by name: a failure or a kill at any moment leaves the old
    folder or the new one.

    Files that Rillet wrote there before and nobody changed go; all others stay. The new folder takes the old one's
    place by one rename (two where the file system cannot exchange folders: a kill between them leaves the old one
    beside, as `NAME.before-...`). Raises BuildError where the folder cannot be written.
    """
    there = folder.is_dir()
    data = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    try:
        for again in reversed(range(_TRIES)):
            try:
                _replace(folder, data)
                break
            except FileNotFoundError:
                if not again:
                    raise  # else another writer put its folder in place while this one read the old one
    except OSError as error:
        if there and error.errno in _NO_STEP:
            raise BuildError(
                f"{folder}: must be a folder that another can take the place of in one step, got: {error.strerror}; "
                f"one within it can: {folder / 'net'}"
            ) from None
        raise BuildError(f"{folder}: cannot be written: {error.strerror}") from None


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """One try of `write_folder`."""
    target = Path(os.path.realpath(followed(folder)))
    there = target.is_dir()
    if not there and target.exists():
        raise BuildError(f"{folder}: must be a folder, got a file")
    if there and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent) as new:
        for name, data in files.items():
            create(new / name, data)
        create(new / MANIFEST, manifest(files))
        # What is ours in the old folder: all that the new program has as well, and what is as we wrote it.
        old = _listed(target) if there else {}
        if there:
            _Kept(target, files, old).bring(target, new)
            _like(target, new)
        for place, _, _ in os.walk(new):
            sync_folder(Path(place))
        if _put(new, target, there):
            # What came to the old folder meanwhile; it lies where the new one was made.
            _Kept(new, files, old).bring(new, target)
    sync_folder(target.parent)


def _listed(folder: Path) -> dict[str, str]:
    """Names and checksums of what Rillet wrote into a folder; raises BuildError where the list is damaged."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return {}
    data = read_small(path, _MANIFEST_BYTES)
    found = None if data is None else read_manifest(data)
    if found is None:
        raise BuildError(f"{path}: must be as Rillet wrote it, got another checksum; remove it to keep all files")
    return found


class _Kept:
    """What of an old folder goes into the new one: all that is not ours."""

    def __init__(self, root: Path, files: Mapping[str, bytes], old: Mapping[str, str]) -> None:
        self.root, self.old, self.left = root, old, MOST_KEPT
        self.replaced = {MANIFEST, *files}

    def bring(self, source: Path, target: Path) -> bool:
        """Links what is kept of `source` into `target`, where nothing of its name is; whether there was anything."""
        some = False
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            path, place = Path(entry.path), target / entry.name
            if entry.is_dir(follow_symlinks=False):
                some |= self._bring_folder(path, place)
            elif not self._ours(path):
                some = True
                self._bring_file(path, place)
        return some

    def _bring_folder(self, path: Path, place: Path) -> bool:
        made = not os.path.lexists(place)
        if made:
            self._count()
            place.mkdir()
        elif place.is_symlink() or not place.is_dir():
            raise self._in_the_way(path)
        kept = self.bring(path, place)
        if made and not kept and any(path.iterdir()):
            place.rmdir()  # it held files of the old program alone
            return False
        if made:
            shutil.copystat(path, place)
        return True

    def _bring_file(self, path: Path, place: Path) -> None:
        if place.is_dir() and not place.is_symlink():
            raise self._in_the_way(path)
        if os.path.lexists(place):
            return
        self._count()
        try:
            os.link(path, place, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copy2(path, place, follow_symlinks=False)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise BuildError(f"{self.root}: must be a program's own folder, got one of more than {MOST_KEPT} files")

    def _in_the_way(self, path: Path) -> BuildError:
        return BuildError(f"{path}: must be moved away: the program has a file or folder of this name")

    def _ours(self, path: Path) -> bool:
        name = path.relative_to(self.root).as_posix()
        if name in self.replaced:
            return True
        return name in self.old and not path.is_symlink() and path.is_file() and sha256_of(path) == self.old[name]


def _like(old: Path, new: Path) -> None:
    about = old.stat()
    if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(OSError):
            os.chown(new, about.st_uid, about.st_gid)
    new.chmod(stat.S_IMODE(about.st_mode))


def _put(new: Path, target: Path, there: bool) -> bool:
    """Gives `new` the place of `target`; whether what was there lies at `new` now."""
    try:
        new.rename(target)  # over nothing, or an empty folder
    except OSError as error:
        if not there or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return False
    try:
        exchange(new, target)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        aside = target.with_name(f"{target.name}.before-{secrets.token_hex(4)}")
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise
        aside.rename(new)
    return True


def exchange(one: Path, other: Path) -> None:
    """Two folders change places, in one step; raises OSError where the system or the file system cannot."""
    sys.audit("os.rename", str(one), str(other), -1, -1)  # as Python's own renames tell it
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(first, second, _RENAME_SWAP)
        else:
            failed = libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
