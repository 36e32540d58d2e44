"""The size of a network: dense, packed at the bits of its element types, and Huffman-coded.

What deep compression (Han et al. 2015, arXiv:1510.00149) calls coding: a tensor of few values is a codebook and the
places in it; where most are zero, the zeros before each other value are counted. The coder really codes: `decode`
gives the array back, and every size is the length of bytes, tables included.
"""

import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph

Ints = npt.NDArray[np.int64]
MOST_VALUES = 2**12
"""Tensors of more different values than this are not coded: a codebook would not pay."""
RUN_BITS = range(2, 9)
"""Bits of a count of zeros that are tried; longer runs have a zero among the values."""
_RAW, _VALUES, _RUNS = 0, 1, 2
KINDS = ("raw", "values", "runs")
_DENSE_BYTES = 4


@dataclass(frozen=True, slots=True)
class TensorSize:
    """An array of a network, and what it takes."""

    name: str
    values: int
    zeros: int
    distinct: int
    """Different values, zero among them."""
    dense_bytes: int
    """At 32 bits a value."""
    packed_bytes: int
    """At the bits of its element type."""
    coded_bytes: int
    kind: str
    """How it is coded: raw, values, or runs of zeros and values."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """All arrays of a network; the scales of integer weights are among them."""

    name: str
    tensors: tuple[TensorSize, ...]
    dense_bytes: int
    packed_bytes: int
    coded_bytes: int


def network_size(graph: Graph) -> NetworkSize:
    """Sizes of every array, shared ones once; raises GraphError for a network without weights."""
    if not graph.params and any(graph.node_params(node) for node in graph.nodes):
        raise GraphError(f"{graph.name}: must have weights to be coded, got none")
    tensors: list[TensorSize] = []
    for node in graph.nodes:
        for param in graph.own_params(node):
            array = graph.param(node, param.name)
            packed = (array.size * param.dtype.bits + 7) // 8
            coded = encode(array)
            kind = KINDS[coded[0]]
            size = len(coded)
            if kind == "raw":
                size = packed + 1
            elif size > packed + 1:
                kind, size = "raw", packed + 1
            tensors.append(
                TensorSize(
                    f"{node.name}.{param.name}",
                    array.size,
                    int((array == 0).sum()),
                    len(np.unique(array)),
                    _DENSE_BYTES * array.size,
                    packed,
                    size,
                    kind,
                )
            )
    return NetworkSize(
        graph.name,
        tuple(tensors),
        sum(one.dense_bytes for one in tensors),
        sum(one.packed_bytes for one in tensors),
        sum(one.coded_bytes for one in tensors),
    )


def encode(array: Array) -> bytes:
    """The shortest of an array's codings; shape and element type are not in it.

    A byte says which. raw: its bytes. values: codebook, lengths of codes, codes. runs: bits of a run, how many pairs,
    codebook, lengths of both codes, then for each pair how many zeros come first, and the value.
    """
    plain = np.ascontiguousarray(array).reshape(-1)
    best = bytes([_RAW]) + plain.tobytes()
    book, places = np.unique(plain, return_inverse=True)
    if len(book) > MOST_VALUES or not len(plain):
        return best
    found = [best, bytes([_VALUES]) + _book(book, places.astype(np.int64)) + _codes([(places, len(book))])]
    if (plain == 0).mean() > 0.25:
        found += [_coded_runs(plain, bits) for bits in RUN_BITS]
    return min(found, key=len)


def decode(data: bytes, count: int, dtype: npt.DTypeLike) -> Array:
    """The `count` values that `encode` made `data` of, one after another; raises GraphError where they are none."""
    kind, rest, made = data[0], memoryview(data)[1:], np.dtype(dtype)
    try:
        if kind == _RAW:
            return np.frombuffer(rest, made, count).copy()
        bits, pairs = struct.unpack_from("<BI", rest) if kind == _RUNS else (0, count)
        rest = rest[5:] if kind == _RUNS else rest
        (length,) = struct.unpack_from("<H", rest)
        book = np.frombuffer(rest, made, length, 2)
        at = 2 + length * made.itemsize
        tables = [list(rest[at : at + length])]
        at += length
        if kind == _RUNS:
            tables.insert(0, list(rest[at : at + 2**bits]))
            at += 2**bits
        symbols = _symbols(bytes(rest[at:]), tables)
        if kind == _VALUES:
            return book[[next(symbols) for _ in range(count)]]
        out, place = np.zeros(count, made), -1
        for _ in range(pairs):
            place += next(symbols) + 1
            out[place] = book[next(symbols)]
        return out
    except (struct.error, IndexError, StopIteration, ValueError, RuntimeError) as error:
        raise GraphError(f"coded array must be whole, got one that ends early or lies: {error}") from None


def code_lengths(counts: Ints) -> Ints:
    """Bits of each symbol's code by Huffman's algorithm (1952); 0 for symbols that do not come, 1 for one alone."""
    lengths = np.zeros(len(counts), np.int64)
    if np.count_nonzero(counts) == 1:
        lengths[np.flatnonzero(counts)] = 1
        return lengths
    heap = [(int(count), place, [place]) for place, count in enumerate(counts) if count]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        joined = first[2] + second[2]
        lengths[joined] += 1
        # The least place of a pair keeps ties the same everywhere.
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), joined))
    return lengths


def canonical_codes(lengths: Ints) -> Ints:
    """The codes of symbols by their lengths alone: shorter ones first, in the order of symbols."""
    codes, code, before = np.zeros(len(lengths), np.int64), 0, 0
    for place in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[place])
        if length:
            code <<= length - before
            codes[place], before = code, length
            code += 1
    return codes


def _book(book: Array, places: Ints) -> bytes:
    """A codebook and the lengths of its codes."""
    lengths = code_lengths(np.bincount(places, minlength=len(book)).astype(np.int64))
    return struct.pack("<H", len(book)) + book.tobytes() + lengths.astype(np.uint8).tobytes()


def _coded_runs(plain: Array, bits: int) -> bytes:
    runs, values = _runs(plain, 2**bits)
    book, places = np.unique(values, return_inverse=True)
    lengths = code_lengths(np.bincount(runs, minlength=2**bits).astype(np.int64))
    head = bytes([_RUNS]) + struct.pack("<BI", bits, len(values))
    tables = _book(book, places.astype(np.int64)) + lengths.astype(np.uint8).tobytes()
    return head + tables + _codes([(runs, 2**bits), (places, len(book))])


def _runs(plain: Array, most: int) -> tuple[Ints, Array]:
    """Zeros before each value, fewer than `most`, and the values; a zero is among them after a run of `most` - 1."""
    at = np.flatnonzero(plain)
    gaps = np.diff(np.concatenate([[-1], at])) - 1
    fillers = gaps // most
    ends = np.cumsum(fillers + 1) - 1
    total = int(ends[-1]) + 1 if len(ends) else 0
    runs, values = np.full(total, most - 1, np.int64), np.zeros(total, plain.dtype)
    runs[ends], values[ends] = gaps % most, plain[at]
    return runs, values


def _codes(streams: list[tuple[Ints, int]]) -> bytes:
    """The codes of several streams of symbols below a bound, one of each in turn, as bits."""
    codes: list[Ints] = []
    sizes: list[Ints] = []
    for symbols, bound in streams:
        lengths = code_lengths(np.bincount(symbols, minlength=bound).astype(np.int64))
        codes.append(canonical_codes(lengths)[symbols])
        sizes.append(lengths[symbols])
    code, size = (np.stack(parts, 1).reshape(-1) for parts in (codes, sizes))
    starts = np.cumsum(size) - size
    out = np.zeros(int(size.sum()), np.uint8)
    for bit in range(int(size.max(initial=0))):
        has = size > bit
        out[starts[has] + bit] = (code[has] >> (size[has] - 1 - bit)) & 1
    return np.packbits(out).tobytes()


def _symbols(data: bytes, tables: list[list[int]]) -> Iterator[int]:
    """The symbols of coded streams, one of each in turn; IndexError where the bits end."""
    books: list[dict[tuple[int, int], int]] = []
    for table in tables:
        codes = canonical_codes(np.array(table, np.int64))
        books.append({(table[place], int(codes[place])): place for place in range(len(table)) if table[place]})
    bits, at = np.unpackbits(np.frombuffer(data, np.uint8)), 0
    while True:
        for book in books:
            length = code = 0
            while (length, code) not in book:
                code, length, at = (code << 1) | int(bits[at]), length + 1, at + 1
            yield book[length, code]
