"""How a value lies in a ring: beats of its writer side by side in words, of which its reader takes operands."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A ring's words, in channels and in bits."""

    channels: int
    beat: int
    """Channels that the writer writes at once."""
    operand: int
    """Channels that the reader takes of a word at once."""
    chunks: int
    """Beats of a word."""
    words: int
    """Of a pixel; the last may be padded."""
    depth: int
    """Pixels of the ring."""
    copies: int
    bits: int
    """Of a channel."""

    @property
    def beats(self) -> int:
        """Of a pixel."""
        return -(-self.channels // self.beat)

    @property
    def word_channels(self) -> int:
        """Channels of a word."""
        return self.chunks * self.beat

    @property
    def operands(self) -> int:
        """Operands of a word; one that is cut off is filled with zeros."""
        return -(-self.word_channels // self.operand)

    @property
    def size(self) -> int:
        """Words of the ring."""
        return self.depth * self.words

    @property
    def address_bits(self) -> int:
        """Of an address."""
        return bits_of(self.size)

    @property
    def select_bits(self) -> int:
        """Of the number of an operand within a word."""
        return bits_of(self.operands)


def layout(
    channels: int, bits: int, beat: int, operand: int, depth: int, copies: int = 1, whole: bool = False
) -> Layout:
    """Words as wide as beats and operands both divide, or a pixel a word where that is no wider, or asked for."""
    together = math.lcm(beat, operand)
    if whole or together >= channels:
        return Layout(channels, beat, operand, -(-channels // beat), 1, depth, copies, bits)
    return Layout(channels, beat, operand, together // beat, -(-channels // together), depth, copies, bits)


def bits_of(count: int) -> int:
    """Bits of a number below `count`, at least one."""
    return max(1, (count - 1).bit_length())
