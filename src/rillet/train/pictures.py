"""Pictures resized and decoded once: from memory, or through a file in the cache."""

import hashlib
import os
import shutil
import zlib
from pathlib import Path

import numpy as np

from rillet.data.datasets import Dataset
from rillet.errors import BuildError, GraphError
from rillet.ir.graph import Array, ImageSpec
from rillet.system.cache import room

MAX_CACHE_BYTES = 2**36
_MARK_BYTES = 4
_ABSENT = 0
"""The mark of an empty slot."""


class Pictures:
    """The pictures of a data set as bytes, height x width x channels of `spec`, safe to read from several threads.

    `corrupt` maps those that could not be decoded to the reason.
    """

    def __init__(self, data: Dataset, spec: ImageSpec) -> None:
        self.data, self.spec = data, spec
        self.shape = (spec.height, spec.width, spec.channels)
        self.corrupt: dict[int, str] = {}
        whole = data.stored is not None and data.stored.shape[1:] == self.shape
        self._array = data.stored if whole else None
        self._slots = _open_slots(data, spec)

    def __len__(self) -> int:
        return len(self.data)

    def at(self, index: int) -> Array | None:
        """A picture, or None where it cannot be decoded."""
        if self._array is not None:
            return self._array[index]
        if index in self.corrupt:
            return None
        found = self._slots.read(index, self.shape) if self._slots else None
        if found is not None:
            return found
        try:
            made = np.ascontiguousarray(self.data.pixels(index, self.spec), np.uint8)
        except GraphError as error:
            self.corrupt[index] = str(error)
            return None
        if self._slots is not None and not self._slots.write(index, made):
            self._slots = None  # decode again and again then
        return made

    def near(self, index: int) -> tuple[Array, int]:
        """A picture and its index: the next one that can be decoded, which stands in for those that cannot.

        Raises GraphError where none can.
        """
        for step in range(len(self)):
            at = (index + step) % len(self)
            found = self.at(at)
            if found is not None:
                return found, at
        first = next(iter(self.corrupt.values()), "there is none")
        raise GraphError(f"{self.data.name}: must have a picture that can be decoded: {first}")


class _Slots:
    """A file with a slot for each picture, and one with a mark for each: the checksum of what is in the slot."""

    def __init__(self, path: Path, slot_bytes: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        self._pixels = os.open(path, flags, 0o600)
        self._marks = os.open(path.with_suffix(".marks"), flags, 0o600)
        self._slot_bytes = slot_bytes

    def read(self, index: int, shape: tuple[int, ...]) -> Array | None:
        """What is in a slot, or None where nothing (or nothing whole) is."""
        mark = int.from_bytes(os.pread(self._marks, _MARK_BYTES, index * _MARK_BYTES), "little")
        if mark == _ABSENT:
            return None
        data = os.pread(self._pixels, self._slot_bytes, index * self._slot_bytes)
        if len(data) != self._slot_bytes or _mark(data) != mark:
            return None
        return np.frombuffer(data, np.uint8).reshape(shape)

    def write(self, index: int, picture: Array) -> bool:
        """Fills a slot; False where that fails, as on a full disk."""
        data = picture.tobytes()
        try:
            done = os.pwrite(self._pixels, data, index * self._slot_bytes)
            done += os.pwrite(self._marks, _mark(data).to_bytes(_MARK_BYTES, "little"), index * _MARK_BYTES)
        except OSError:
            return False
        return done == len(data) + _MARK_BYTES

    def __del__(self) -> None:
        for descriptor in (getattr(self, "_pixels", None), getattr(self, "_marks", None)):
            if descriptor is not None:
                os.close(descriptor)


def _mark(data: bytes) -> int:
    return max(zlib.crc32(data), _ABSENT + 1)


def _open_slots(data: Dataset, spec: ImageSpec) -> _Slots | None:
    """The cache of pictures that lie in files, if the disk has room for it; the same files have the same cache."""
    slot_bytes = spec.height * spec.width * spec.channels
    if not data.files:
        return None
    digest = hashlib.sha256(f"{spec.height} {spec.width} {spec.channels} {spec.resize} {spec.detail}".encode())
    try:
        for file in data.files:
            found = file.stat()
            digest.update(f"\0{file.absolute()}\0{found.st_size} {found.st_mtime_ns}".encode())
        folder = room("pictures")
        path = folder / f"{digest.hexdigest()[:32]}.pixels"
        wanted = slot_bytes * len(data)
        if wanted > MAX_CACHE_BYTES or (not path.exists() and wanted > shutil.disk_usage(folder).free // 2):
            return None
        return _Slots(path, slot_bytes)
    except (OSError, BuildError):
        return None  # no place to keep them
