"""The hardware of a plan as files, and what a simulator must know of its ports."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Port:
    """One end of the stream, an AXI-Stream whose beats are channels of one pixel, the lowest byte first."""

    pixels: int
    """Of one image."""
    bytes: int
    """Of a pixel."""
    beat_bytes: int
    """Of a beat; the last beat of a pixel is padded where they do not divide the pixel."""
    beats_per_pixel: int
    flip_sign: bool
    """True where the bytes of the stream are uint8: inside they are v - 128."""


@dataclass(frozen=True)
class Design:
    """The Verilog of a plan; the module `top` is the whole, and simulators run where its files lie."""

    files: Mapping[str, str]
    """Text by relative path: `rtl/top.v`, the modules `rtl/rillet_*.v`, and their memories `mem/*.hex`."""
    stages: tuple[str, ...]
    """Nodes in the order of the bits of `fired` and `stalled`."""
    rings: tuple[tuple[str, str], ...]
    """Value and reader of each ring, in the order of the words of `peaks`."""
    input: Port
    output: Port
    modules: Mapping[str, str] = field(default_factory=dict[str, str])
    """The file of each stage's own module, by its node."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The Verilog files."""
        return tuple(sorted(name for name in self.files if name.endswith(".v")))
