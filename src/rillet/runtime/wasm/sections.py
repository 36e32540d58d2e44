"""WebAssembly modules as sections, so that a page has the data of two builds once."""

from collections.abc import Iterator

from rillet.errors import BuildError

_HEADER_BYTES = 8
_CODE, _DATA = 10, 11


def without_data(other: bytes, module: bytes) -> bytes | None:
    """A module without its data section, which a page takes from `module` (parts.js); None where that has another."""
    data, own = ([found for found in _sections(one) if found[0] == _DATA] for one in (module, other))
    if len(data) != 1 or len(own) != 1 or module[slice(*data[0][1:])] != other[slice(*own[0][1:])]:
        return None
    start, end = own[0][1:]
    # A page puts it behind the code.
    if (start,) != tuple(to for kind, _, to in _sections(other) if kind == _CODE):
        return None
    return other[:start] + other[end:]


def _sections(module: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each section its kind, and from where to where it reaches with its header."""
    at = _HEADER_BYTES
    while at < len(module):
        start, kind, size, shift = at, module[at], 0, 0
        while True:
            at += 1
            if at >= len(module) or shift > 28:
                raise BuildError("a compiled module must be one of WebAssembly, got a section without an end")
            size |= (module[at] & 0x7F) << shift
            shift += 7
            if module[at] < 0x80:
                break
        at += 1 + size
        yield kind, start, at
