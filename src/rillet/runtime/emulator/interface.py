"""What the header of an emitted program says of its input and outputs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rillet.errors import BuildError

_TYPES = {"int8_t": np.int8, "uint8_t": np.uint8, "int16_t": np.int16, "int32_t": np.int32, "float": np.float32}


@dataclass(frozen=True, slots=True)
class Values:
    """An input or an output: so many values of a type, named in C as `name`."""

    name: str
    dtype: "np.dtype[np.generic]"
    count: int

    @property
    def bytes(self) -> int:
        """Bytes of all values."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Interface:
    """How a program is called."""

    prefix: str
    source: Values
    outputs: tuple[Values, ...]

    @property
    def header(self) -> str:
        """A C header with the macro OUTPUTS(X), which is X(buffer, type, count) for each output."""
        p, upper = self.prefix, self.prefix.upper()
        calls = [f"X({o.name}, {p}_{o.name}_t, {upper}_{o.name.upper()}_SIZE)" for o in self.outputs]
        return f"#define OUTPUTS(X) {' '.join(calls)}\n"


def interface(files: Mapping[str, str]) -> Interface:
    """The interface of a program's files; raises BuildError where no header describes one."""
    for name, text in files.items():
        found = re.search(r"^#define (\w+)_INPUT_HEIGHT (\d+)$", text, re.MULTILINE)
        if found and name.endswith(".h") and "/" not in name:
            return _parsed(name, text, found[1].lower() if name == f"{found[1].lower()}.h" else name[:-2])
    raise BuildError(f"program must have a header with NET_INPUT_HEIGHT, got {', '.join(sorted(files)) or 'no files'}")


def _parsed(file: str, text: str, prefix: str) -> Interface:
    upper = prefix.upper()
    count = 1
    for side in ("HEIGHT", "WIDTH", "CHANNELS"):
        count *= _number(file, text, f"{upper}_INPUT_{side}")
    source = Values("input", _dtype(file, text, f"{prefix}_input_t"), count)
    names = [
        found.lower() for found in re.findall(rf"^#define {upper}_(OUTPUT(?:_\d+)?)_SIZE \d+$", text, re.MULTILINE)
    ]
    outputs = [
        Values(name, _dtype(file, text, f"{prefix}_{name}_t"), _number(file, text, f"{upper}_{name.upper()}_SIZE"))
        for name in names
    ]
    return Interface(prefix, source, tuple(outputs))


def _number(file: str, text: str, name: str) -> int:
    found = re.search(rf"^#define {name} (\d+)$", text, re.MULTILINE)
    if found is None:
        raise BuildError(f"{file}: must define {name} as a number")
    return int(found[1])


def _dtype(file: str, text: str, name: str) -> "np.dtype[np.generic]":
    found = re.search(rf"^typedef (\w+) {name};$", text, re.MULTILINE)
    if found is None or found[1] not in _TYPES:
        raise BuildError(f"{file}: {name} must be one of {', '.join(_TYPES)}, got {found[1] if found else 'none'}")
    return np.dtype(_TYPES[found[1]])
