"""Reads the HDF5 files that Keras writes: groups, attributes of text, contiguous arrays, and nothing else.

Broken files crash the HDF5 library; here every address is checked against the bytes that are there, and what a file can
make us do is counted. Section numbers are those of the HDF5 File Format Specification, version 3.0.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rillet.errors import GraphError, Unsupported

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_RECORDS = 2**17
"""Header messages, links and texts read of one file."""
MAX_DIMENSIONS = 8
MAX_NAME_BYTES = 2**10
_ROOT_ENTRY = {0: 56, 1: 60}
"""Where a superblock of version 0 or 1 tells of the root group."""
_SOFT_LINK, _SHARED = 2, 2
# Header messages (IV.A.2).
_DATASPACE, _DATATYPE, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 1, 3, 8, 11, 12, 16, 17
# Classes of datatypes (IV.A.2.d).
_FIXED, _FLOAT, _STRING, _VARIABLE = 0, 1, 3, 9
# Offset, precision, place and size of exponent and mantissa, bias.
_IEEE: Mapping[tuple[int, ...], str] = {
    (0, 16, 10, 5, 0, 10, 15): "float16",
    (0, 32, 23, 8, 0, 23, 127): "float32",
    (0, 64, 52, 11, 0, 52, 1023): "float64",
}
_INTEGERS = {1: "int8", 2: "int16", 4: "int32", 8: "int64"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """An array: its shape, the name of its type, its bytes."""

    shape: tuple[int, ...]
    dtype: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Type:
    """A datatype: class, bytes of an element, and its name where it is a number in little-endian order."""

    kind: int
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """Where the values of an attribute are."""

    type: _Type
    count: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Group:
    """The address of each thing in a group by name, and its attributes by name."""

    links: Mapping[str, int]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class _Message:
    """One message of an object's header: its type and where its data are."""

    kind: int
    flags: int
    start: int
    stop: int


def check_superblock(head: bytes, size: int, name: str) -> None:
    """Raises GraphError or Unsupported where a file of `size` bytes that begins so is none that is read here."""
    root = Hdf5(head, name).root
    if root >= size:
        raise GraphError(f"{name}: root group must lie within the file of {size} bytes, got byte {root}")


class Hdf5:
    """The groups, datasets and texts of a file; raises GraphError for a broken one, Unsupported for other forms."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = memoryview(data)
        self.name = name
        self.records = 0
        self.heaps: dict[int, dict[int, tuple[int, int]]] = {}
        version, offset_bytes, length_bytes = self._unpack("<8xB4xBB", 0)
        if version not in _ROOT_ENTRY or (offset_bytes, length_bytes) != (8, 8):
            raise self._unsupported(f"version {version} of the superblock; Keras writes 0")
        self.root: int = self._unpack("<8xQ", _ROOT_ENTRY[version])[0]

    def _broken(self, reason: str) -> GraphError:
        return GraphError(f"{self.name}: must be a well-formed HDF5 file, got a broken one ({reason})")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{self.name}: must be an HDF5 file as Keras writes it, got {what}")

    # -- what people ask for ---------------------------------------------------------------------------------------

    def group(self, address: int) -> Group:
        """The group at `address`."""
        links: dict[str, int] = {}
        attributes: dict[str, Attribute] = {}
        for message in self._messages(address):
            if message.kind == _SYMBOL_TABLE:
                links = dict(self._links(*self._unpack("<QQ", message.start)))
            elif message.kind == _ATTRIBUTE:
                name, attribute = self._attribute(message)
                attributes[name] = attribute
        return Group(links, attributes)

    def dataset(self, address: int) -> Dataset:
        """The dataset at `address`."""
        found = {message.kind: message for message in self._messages(address)}
        if _FILTERS in found:
            raise self._unsupported("a compressed array")
        if not {_DATASPACE, _DATATYPE, _LAYOUT} <= found.keys():
            raise self._broken("no array where one must be")
        shape = self._dimensions(found[_DATASPACE].start)
        kind = self._type(found[_DATATYPE])
        if not kind.name:
            raise self._unsupported(f"an array of type class {kind.kind}")
        start, size = self._layout(found[_LAYOUT])
        if size < math.prod(shape) * kind.size:
            raise self._broken(f"an array of {math.prod(shape) * kind.size} bytes in {size}")
        return Dataset(shape, kind.name, self._slice(start, math.prod(shape) * kind.size))

    def texts(self, attribute: Attribute) -> tuple[str, ...]:
        """The texts of an attribute; none of an empty one, whatever its type."""
        self._count(attribute.count)
        size = attribute.type.size
        if attribute.count * size > attribute.stop - attribute.start:
            raise self._broken("an attribute longer than its message")
        out: list[str] = []
        for at in range(attribute.start, attribute.start + attribute.count * size, max(size, 1)):
            if attribute.type.kind == _STRING:
                raw = self._slice(at, size)
            elif attribute.type.kind == _VARIABLE:
                raw = self._heap_object(*self._unpack("<IQI", at))
            else:
                raise self._unsupported(f"an attribute of type class {attribute.type.kind} where a text must be")
            out.append(bytes(raw[:MAX_NAME_BYTES]).partition(b"\0")[0].decode("utf-8", "replace"))
        return tuple(out)

    # -- the file's own structures ---------------------------------------------------------------------------------

    def _slice(self, start: int, size: int) -> memoryview:
        if not 0 <= start <= start + size <= len(self.data):
            raise self._broken("an address beyond its end")
        return self.data[start : start + size]

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack(form, self._slice(at, struct.calcsize(form)))

    def _signed(self, signature: bytes, at: int) -> None:
        if bytes(self._slice(at, 4)) != signature:
            raise self._broken(f"no {signature.decode()} where one must be")

    def _count(self, records: int = 1) -> None:
        self.records += records
        if self.records > MAX_RECORDS:
            raise GraphError(f"{self.name}: must have at most {MAX_RECORDS} records, got more")

    def _messages(self, address: int) -> Iterator[_Message]:
        """The messages of an object header of version 1 (IV.A.1.a)."""
        version, count, size = self._unpack("<BxH4xI", address)
        if version != 1:
            raise self._unsupported("an object header of another version than 1")
        blocks = [(address + 16, size)]
        for start, length in blocks:
            at, stop = start, start + length
            while at + 8 <= stop and count:
                self._count()
                count -= 1
                kind, data_bytes, flags = self._unpack("<HHB3x", at)
                message = _Message(kind, flags, at + 8, at + 8 + data_bytes)
                self._slice(message.start, data_bytes)
                at = message.stop
                if kind == _CONTINUATION:
                    first, length = self._unpack("<QQ", message.start)
                    blocks.append((first, length))
                elif kind in (_DATATYPE, _DATASPACE, _ATTRIBUTE) and flags & _SHARED:
                    raise self._unsupported("a shared header message")
                else:
                    yield message

    def _links(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Names and addresses in a group: a B-tree (III.A.1) of symbol nodes (III.B), names in a local heap (III.D)."""
        self._signed(b"HEAP", heap)
        names_bytes, _, names = self._unpack("<8xQQQ", heap)
        waiting = [tree]
        while waiting:
            self._count()
            at = waiting.pop()
            if bytes(self._slice(at, 4)) == b"SNOD":
                for i in range(self._unpack("<6xH", at)[0]):
                    self._count()
                    name, address, cached = self._unpack("<QQI", at + 8 + 40 * i)
                    if cached != _SOFT_LINK:
                        yield self._name_at(names, name, names_bytes), address
                continue
            self._signed(b"TREE", at)
            kind, entries = self._unpack("<4xBxH", at)
            if kind:
                raise self._broken("a tree of another kind than a group's")
            self._count(entries)
            # Keys and children take turns behind the addresses of the siblings; popped from the end, so in order.
            waiting += [self._unpack("<Q", at + 32 + 16 * i)[0] for i in reversed(range(entries))]

    def _name_at(self, start: int, offset: int, size: int) -> str:
        if offset >= size:
            raise self._broken("a name beyond its heap")
        raw = bytes(self._slice(start + offset, min(size - offset, MAX_NAME_BYTES, len(self.data) - start - offset)))
        return raw.partition(b"\0")[0].decode("utf-8", "replace")

    def _attribute(self, message: _Message) -> tuple[str, Attribute]:
        """An attribute's name and where its values are (IV.A.2.m)."""
        version, flags, name_bytes, type_bytes, space_bytes = self._unpack("<BBHHH", message.start)
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise self._unsupported(f"version {version} of an attribute")
        at = message.start + (9 if version == 3 else 8)
        starts: list[int] = []
        for size in (name_bytes, type_bytes, space_bytes):
            starts.append(at)
            at += -(-size // 8) * 8 if version == 1 else size
        name = bytes(self._slice(starts[0], name_bytes)).partition(b"\0")[0].decode("utf-8", "replace")
        kind = self._type(_Message(_DATATYPE, 0, starts[1], starts[1] + type_bytes))
        count = math.prod(self._dimensions(starts[2]))
        return name, Attribute(kind, count, at, message.stop)

    def _dimensions(self, at: int) -> tuple[int, ...]:
        """The sizes in a dataspace (IV.A.2.b)."""
        version, rank, _, kind = self._unpack("<4B", at)
        if version not in (1, 2) or rank > MAX_DIMENSIONS:
            raise self._unsupported(f"version {version} of a dataspace, of {rank} dimensions")
        if version == 2 and kind == 2:
            return (0,)
        sizes = self._unpack(f"<{rank}Q", at + (8 if version == 1 else 4))
        if any(size > len(self.data) for size in sizes):
            raise self._broken("an array larger than the file")
        return sizes

    def _type(self, message: _Message) -> _Type:
        """A datatype (IV.A.2.d)."""
        start = message.start
        version_and_class, bits, size = self._unpack("<BB2xI", start)
        kind, name = version_and_class & 15, ""
        if kind == _FLOAT and not bits & 0x41:
            name = _IEEE.get(self._unpack("<HH4BI", start + 8), "")
        elif kind == _FIXED and not bits & 1:
            name = ("" if bits & 8 else "u") + _INTEGERS[size] if size in _INTEGERS else ""
        elif kind == _VARIABLE and (bits & 15 != 1 or size != 16):
            raise self._unsupported("a list of varying length")
        if name and int("".join(filter(str.isdigit, name))) != 8 * size:
            raise self._broken("a type of another size")
        return _Type(kind, size, name)

    def _layout(self, message: _Message) -> tuple[int, int]:
        """Where a dataset's bytes are, and how many (IV.A.2.i)."""
        version, kind = self._unpack("<BB", message.start)
        match version, kind:
            case 3, 0:
                return message.start + 4, self._unpack("<H", message.start + 2)[0]
            case 3, 1:
                start, size = self._unpack("<QQ", message.start + 2)
                return start, size
            case _:
                raise self._unsupported(f"an array in chunks (version {version}, class {kind} of its layout)")

    def _heap_object(self, size: int, collection: int, index: int) -> memoryview:
        """A text of varying length: an object of a global heap (III.E)."""
        if size == 0:
            return self.data[:0]
        if collection not in self.heaps:
            self.heaps[collection] = dict(self._heap(collection))
        if index not in self.heaps[collection]:
            raise self._broken("a text that is missing")
        start, stored = self.heaps[collection][index]
        if size > stored:
            raise self._broken("a text longer than its place")
        return self._slice(start, size)

    def _heap(self, collection: int) -> Iterator[tuple[int, tuple[int, int]]]:
        self._signed(b"GCOL", collection)
        stop = collection + self._unpack("<8xQ", collection)[0]
        at = collection + 16
        while at + 16 <= stop:
            self._count()
            index, size = self._unpack("<H6xQ", at)
            if not index:
                return
            yield index, (at + 16, size)
            at += 16 + -(-size // 8) * 8
