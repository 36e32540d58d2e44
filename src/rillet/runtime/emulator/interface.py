"""What the header of an emitted program says of its inputs and outputs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rillet.errors import BuildError

_TYPES = {"int8_t": np.int8, "uint8_t": np.uint8, "int16_t": np.int16, "int32_t": np.int32, "float": np.float32}
_ENDS = (r"INPUT_\d+", r"OUTPUT(?:_\d+)?")


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
    inputs: tuple[Values, ...]
    outputs: tuple[Values, ...]

    @property
    def header(self) -> str:
        """A C header with the macros INPUTS(X) and OUTPUTS(X), which are X(buffer, type, count) for each."""
        made = [f"X({one.name}, {self.prefix}_{one.name}_t, {one.count})" for one in (*self.inputs, *self.outputs)]
        inputs, outputs = made[: len(self.inputs)], made[len(self.inputs) :]
        return f"#define INPUTS(X) {' '.join(inputs)}\n#define OUTPUTS(X) {' '.join(outputs)}\n"


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
    others, outputs = ([_values(file, text, prefix, name) for name in _sized(text, upper, end)] for end in _ENDS)
    return Interface(prefix, (source, *others), tuple(outputs))


def _sized(text: str, upper: str, end: str) -> list[str]:
    """The names of what has a size of its own: outputs, and inputs but the first."""
    return [found.lower() for found in re.findall(rf"^#define {upper}_({end})_SIZE \d+$", text, re.MULTILINE)]


def _values(file: str, text: str, prefix: str, name: str) -> Values:
    size = _number(file, text, f"{prefix.upper()}_{name.upper()}_SIZE")
    return Values(name, _dtype(file, text, f"{prefix}_{name}_t"), size)


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
