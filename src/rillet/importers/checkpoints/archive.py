"""Reads the zip files that PyTorch writes: entries side by side, not compressed, each found without copying it."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.records import shown

MAX_DIRECTORY_BYTES = 2**22
_END, _END64, _LOCATOR = (
    struct.Struct("<4s4H2LH"),
    struct.Struct("<4sQ2H2L4Q"),
    struct.Struct("<4sLQL"),
)
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_ENCRYPTED, _STORED, _ZIP64 = 1, 0, 1
_ALL_ONES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in the archive: where its local header begins, its size and checksum."""

    name: str
    header: int
    size: int
    checksum: int


class Archive:
    """The entries of a zip file by name; nothing is read before it is asked for."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = memoryview(data)
        self.name = name
        self.intact: set[str] = set()
        self.entries: Mapping[str, Entry] = {entry.name: entry for entry in self._directory(data)}
        # Entries that lie over each other would make more of a file than it holds.
        if sum(entry.size for entry in self.entries.values()) > len(data):
            raise self._broken("entries overlap")

    def _broken(self, reason: str) -> GraphError:
        return GraphError(f"{self.name}: must be a well-formed zip file, got a broken one ({reason})")

    def read(self, name: str) -> memoryview:
        """The bytes of an entry, its checksum compared; raises GraphError where it is missing or broken."""
        entry = self.entries.get(name)
        if entry is None:
            raise GraphError(f"{self.name}: must have an entry {shown(name)}, got none")
        header = self._unpack(_LOCAL, entry.header, b"PK\3\4")
        start = entry.header + _LOCAL.size + header[-2] + header[-1]
        found = self._slice(start, entry.size)
        if name not in self.intact and zlib.crc32(found) != entry.checksum:
            raise self._broken(f"checksum of {shown(name)} differs")
        self.intact.add(name)
        return found

    def _directory(self, data: bytes) -> list[Entry]:
        end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - 2**16))
        *_, size, start, _ = self._unpack(_END, end, b"PK\5\6")
        locator = end - _LOCATOR.size
        if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
            record = self._unpack(_LOCATOR, locator, b"PK\6\7")[2]
            *_, size, start = self._unpack(_END64, record, b"PK\6\6")
        if size > MAX_DIRECTORY_BYTES:
            raise GraphError(f"{self.name}: directory must have at most {MAX_DIRECTORY_BYTES} bytes, got {size}")
        self._slice(start, size)
        entries: list[Entry] = []
        at, stop = start, start + size
        while at < stop:
            entry, at = self._entry(at)
            entries.append(entry)
        return entries

    def _entry(self, at: int) -> tuple[Entry, int]:
        (
            _,
            _,
            _,
            flags,
            method,
            _,
            _,
            checksum,
            packed,
            size,
            name_bytes,
            extra_bytes,
            comment_bytes,
            _,
            _,
            _,
            header,
        ) = self._unpack(_ENTRY, at, b"PK\1\2")
        at += _ENTRY.size
        name = bytes(self._slice(at, name_bytes)).decode("utf-8", "replace")
        extra = bytes(self._slice(at + name_bytes, extra_bytes))
        # Sizes and offsets of 32 ones stand in the zip64 field, in this order.
        wide = [size == _ALL_ONES, packed == _ALL_ONES, header == _ALL_ONES]
        if any(wide):
            values = iter(self._wide(extra, sum(wide)))
            size, packed, header = (
                next(values) if is_wide else narrow
                for is_wide, narrow in zip(wide, (size, packed, header), strict=True)
            )
        if method != _STORED or flags & _ENCRYPTED or packed != size:
            raise Unsupported(
                f"{self.name}: entry {shown(name)} must be stored as it is, got a packed or encrypted one"
            )
        return Entry(name, header, size, checksum), at + name_bytes + extra_bytes + comment_bytes

    def _wide(self, extra: bytes, count: int) -> tuple[int, ...]:
        at = 0
        while at + 4 <= len(extra):
            kind, size = struct.unpack_from("<2H", extra, at)
            if kind == _ZIP64 and 8 * count <= size <= len(extra) - at - 4:
                return struct.unpack_from(f"<{count}Q", extra, at + 4)
            at += 4 + size
        raise self._broken("a size is missing")

    def _unpack(self, record: struct.Struct, at: int, signature: bytes) -> tuple[int, ...]:
        found = record.unpack(self._slice(at, record.size))
        if found[0] != signature:
            raise self._broken(f"no {signature[:2].decode()} record where one must be")
        return found

    def _slice(self, start: int, size: int) -> memoryview:
        if not 0 <= start <= start + size <= len(self.data):
            raise self._broken("it ends too early")
        return self.data[start : start + size]
