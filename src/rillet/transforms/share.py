"""Weight sharing: the weights of each layer become those of a small codebook (Han et al. 2015, arXiv:1510.00149)."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.ir.graph import Graph

Floats = npt.NDArray[np.float64]
MOST_BITS = 8
_ROUNDS = 300
"""Rounds of Lloyd's algorithm at most; it settles long before."""
_BINS = 512
"""Of the histogram that density is read from."""


def share(graph: Graph, bits: int, layers: Iterable[str]) -> Graph:
    """The graph with at most 2**bits values, and zero where it was, in the weights of each of `layers`,
    and so in those of the layers that share them.

    Raises GraphError unless bits are 1 to 8.
    """
    if not 1 <= bits <= MOST_BITS:
        raise GraphError(f"bits must be 1 to {MOST_BITS}, got {bits}")
    params = dict(graph.params)
    for name in layers:
        node = graph.by_name[name]
        weight = graph.param(node, "weight")
        values = weight.astype(np.float64).reshape(-1)
        used = values != 0
        if used.any():
            book = codebook(values[used], 2**bits)
            values[used] = book[nearest(values[used], book)]
        params[graph.key(node, "weight")] = values.astype(np.float32).reshape(weight.shape)
    return replace(graph, params=params)


def codebook(values: Floats, count: int) -> Floats:
    """At most `count` values near all of `values`, in rising order: k-means by Lloyd's algorithm, always the same.

    It begins evenly between least and greatest, which Han et al. found best: the great weights are few, and matter.
    That may lose half of the codebook where few weights are great, so it begins by density as well; the result that is
    nearer to the values, in squares, is kept.
    """
    places = np.unique(values)
    if len(places) <= count:
        return places
    ordered = np.sort(values)
    books = [_settled(ordered, start) for start in (_evenly(ordered, count), _densely(ordered, count))]
    return min(books, key=lambda book: _squares(ordered, book))


def _evenly(ordered: Floats, count: int) -> Floats:
    return np.linspace(ordered[0], ordered[-1], count)


def _densely(ordered: Floats, count: int) -> Floats:
    """As dense as the cube root of the values' density, which is best for many (Panter and Dite 1951)."""
    density, edges = np.histogram(ordered, _BINS)
    sums = np.concatenate([np.zeros(1), np.cumsum(np.cbrt(density))])
    return np.interp((np.arange(count) + 0.5) / count, sums / sums[-1], edges)


def _settled(ordered: Floats, book: Floats) -> Floats:
    """What Lloyd's algorithm makes of a codebook; values that nothing is nearest to fall away."""
    sums = np.concatenate([np.zeros(1), np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        ends = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2, side="right")
        edges = np.concatenate([[0], ends, [len(ordered)]])
        sizes = np.diff(edges)
        means = (sums[edges[1:]] - sums[edges[:-1]])[sizes > 0] / sizes[sizes > 0]
        if len(means) == len(book) and np.array_equal(means, book):
            break
        book = means
    return np.unique(book.astype(np.float32).astype(np.float64))


def _squares(values: Floats, book: Floats) -> float:
    return float(((values - book[nearest(values, book)]) ** 2).sum())


def nearest(values: Floats, book: Floats) -> npt.NDArray[np.int64]:
    """The place of the nearest value of a rising codebook; halfway, the lower."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values, side="left").astype(np.int64)
