"""Bounds the memory of a protobuf file before it is parsed, as fields of two bytes can become large objects."""

from typing import Any

from rillet.errors import GraphError

MAX_FIELDS = 2**20
MAX_DEPTH = 32
MAX_PACKED_BYTES = 2**26
"""Bytes of packed numbers of variable length, each of which takes eight bytes in memory."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINTS = 20
"""Bytes of two numbers of variable length: a field's key and its length."""
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARIABLE_TYPES = frozenset((3, 4, 5, 8, 13, 14, 17, 18))
"""Field types of protobuf's descriptors that are written as numbers of variable length."""


def check(data: bytes, message: Any) -> None:
    """Walks over the fields of a file whose root is `message` (a descriptor).

    Raises GraphError where it is not well formed, or would grow beyond the bounds above.
    """
    fields = packed = 0
    spans = [(0, len(data), message, 0)]
    while spans:
        at, stop, kind, depth = spans.pop()
        if depth > MAX_DEPTH:
            raise GraphError(f"messages must be nested at most {MAX_DEPTH} deep")
        while at < stop:
            key, at = _varint(data, at, stop)
            fields += 1
            if fields > MAX_FIELDS:
                raise GraphError(f"must have at most {MAX_FIELDS} fields")
            field = kind.fields_by_number.get(key >> 3)
            match key & 7:
                case 0:
                    _, at = _varint(data, at, stop)
                case 2:
                    length, at = _varint(data, at, stop)
                    if length > stop - at:
                        raise GraphError(f"field at byte {at} must end within its message, got {length} bytes")
                    if field is not None and field.message_type is not None:
                        spans.append((at, at + length, field.message_type, depth + 1))
                    elif field is not None and field.type in _VARIABLE_TYPES:
                        packed += length
                    at += length
                case wire:
                    if wire not in _FIXED_BYTES or _FIXED_BYTES[wire] > stop - at:
                        raise GraphError(f"field at byte {at} must be a number or bytes, got wire type {wire}")
                    at += _FIXED_BYTES[wire]
    if packed > MAX_PACKED_BYTES:
        raise GraphError(f"must have at most {MAX_PACKED_BYTES} bytes of packed integers, got {packed}")


def begins(data: bytes, message: Any) -> bool:
    """Whether a file may begin so, whose root is `message`: with one of its fields, as a number or as bytes."""
    field = message.fields_by_number.get(data[0] >> 3) if data else None
    return not data or data[0] >= 128 or (field is not None and data[0] & 7 in (_VARINT, _BYTES))


def check_beginning(head: bytes, size: int) -> None:
    """Raises GraphError where a field of the root, as far as `head` shows them, ends behind a file of `size` bytes."""
    at = 0
    while at < min(len(head) - _MOST_VARINTS, size):
        start = at
        key, at = _varint(head, at, len(head))
        match key & 7:
            case 0:  # _VARINT
                _, at = _varint(head, at, len(head))
            case 2:  # _BYTES
                length, at = _varint(head, at, len(head))
                at += length
            case wire if wire in _FIXED_BYTES:
                at += _FIXED_BYTES[wire]
            case wire:
                raise GraphError(f"field at byte {start} must be a number or bytes, got wire type {wire}")
        if at > size:
            raise GraphError(f"field at byte {start} must end within its file of {size} bytes, got one to {at}")


def _varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """A number of variable length and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise GraphError(f"number at byte {at} must end within its message and ten bytes")
