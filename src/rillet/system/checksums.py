"""Checksums in the files that Rillet writes: appended to a file, within a JSON record, or as a manifest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rillet.errors import GraphError
from rillet.system.reading import read_bytes

_BEFORE, _HEX_DIGITS = b"\nrillet sha256 ", 64
_FORMAT_KEY, _FORMAT, _SUM_KEY = "format", "rillet record 2", "sha256"
_MOST_RECORD_BYTES = 1 << 26


def seal(data: bytes | memoryview) -> bytes:
    """What is put behind `data` so that damage is seen."""
    return _BEFORE + hashlib.sha256(data).hexdigest().encode() + b"\n"


def unseal(data: bytes, name: str) -> tuple[bytes, bool]:
    """The bytes before the checksum, and whether there was one; raises GraphError, naming the file, for damage."""
    at = len(data) - len(_BEFORE) - _HEX_DIGITS - 1
    if at < 0 or not data.startswith(_BEFORE, at):
        return data, False
    if seal(memoryview(data)[:at]) != data[at:]:
        raise GraphError(f"{name}: must have the checksum that it was written with: it is damaged")
    return data[:at], True


def record_text(record: Mapping[str, Any]) -> str:
    """A record as JSON with its checksum."""
    whole = {_FORMAT_KEY: _FORMAT, **record}
    return json.dumps({**whole, _SUM_KEY: _record_sum(whole)}, indent=2) + "\n"


def read_record(path: Path) -> tuple[dict[str, Any], bool]:
    """A record, and whether it had a checksum; raises GraphError for damage, and for what is no record."""
    data = read_bytes(path, _MOST_RECORD_BYTES, "a record")
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise GraphError(f"{path}: must be JSON") from None
    if not isinstance(found, dict):
        raise GraphError(f"{path}: must be a record, got {type(found).__name__}")
    # Two marks, so that damage to one does not make an older record of it, which had neither.
    if _FORMAT_KEY not in found and _SUM_KEY not in found:
        return found, False
    said = found.pop(_SUM_KEY, None)
    if said != _record_sum(found) or found.pop(_FORMAT_KEY, None) != _FORMAT:
        raise GraphError(f"{path}: must have the checksum that it was written with: it is damaged")
    return found, True


def _record_sum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def manifest(files: Mapping[str, bytes]) -> bytes:
    """The list of files that `sha256sum -c` checks, with its own checksum in a comment."""
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return f"{lines}# {hashlib.sha256(lines.encode()).hexdigest()}\n".encode()


def read_manifest(data: bytes) -> dict[str, str] | None:
    """Names and checksums of such a list; None where it is damaged."""
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    if not lines or lines[-1] != f"# {hashlib.sha256(''.join(lines[:-1]).encode()).hexdigest()}\n":
        return None
    return {name: digest for digest, _, name in (line.rstrip("\n").partition("  ") for line in lines[:-1])}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
