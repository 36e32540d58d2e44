"""Contents of memories as text that `$readmemh` reads: a word a line, its fields packed from the lowest bit on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Field = tuple[npt.NDArray[np.int64], int]
"""Numbers of each word (words x numbers, or one of each), and the bits of one; the first number lies lowest."""


def words(*fields: Field) -> str:
    """The words of these fields, the first field lowest; negative numbers in two's complement."""
    count = len(fields[0][0])
    if all(bits == 8 for _, bits in fields):
        return _lines(np.concatenate([_flat(values).astype(np.uint8) for values, _ in fields], 1), 0)
    planes = [_bits(_flat(values), bits) for values, bits in fields]
    bits = np.concatenate(planes, 1)
    padded = np.zeros((count, -(-bits.shape[1] // 8) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return _lines(np.packbits(padded, axis=1, bitorder="little"), (padded.shape[1] - bits.shape[1]) // 4)


def packed_words(fields: Sequence[Field]) -> str:
    """Words of several numbers each, a group of fields for each number: the fields of the first number lie lowest."""
    numbers = fields[0][0].shape[1]
    return words(*((values[:, i : i + 1], bits) for i in range(numbers) for values, bits in fields))


def _flat(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return values.reshape(len(values), -1)


def _bits(values: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.uint8]:
    made = (values[:, :, None] >> np.arange(bits, dtype=np.int64)) & 1
    return made.astype(np.uint8).reshape(len(values), -1)


def _lines(array: npt.NDArray[np.uint8], spare: int) -> str:
    """Bytes as digits, the highest first, without `spare` digits at the top of each word."""
    width = 2 * array.shape[1]
    digits = np.ascontiguousarray(array[:, ::-1]).tobytes().hex()
    return "\n".join([digits[i + spare : i + width] for i in range(0, len(digits), width)]) + "\n"
