"""Weights and constants of a microcontroller's kernels, in the order in which these read them (kernels/core.h)."""

from typing import assert_never

import numpy as np

from rillet.arithmetic.fixed_point import Ints
from rillet.backends.c import core_armv6m as armv6m
from rillet.backends.c import core_helium as helium
from rillet.backends.c.constants import folded_bias, integer_arrays
from rillet.backends.c.core_lists import lists
from rillet.backends.c.core_words import halves, words_of
from rillet.ir.facts import has_weights
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Rounding
from rillet.plan.board.kernels import WORD, Finish, finish
from rillet.plan.rows.plan import CoreKernels, Kernel, Stage


def core_arrays(graph: Graph, stage: Stage, core: CoreKernels) -> dict[str, Array]:
    """Weights and constants of such a stage; `graph` is as the program stores it, all values int8."""
    node = graph.by_name[stage.node]
    folded = folded_bias(graph, node)
    weight, bias = folded[0].astype(np.int64), folded[1].astype(np.int64)
    known = finish(graph, node, CoreKernels.ARMV6M if stage.kernel is Kernel.CORE_LISTS else core)
    if known.by_words:
        weight = np.where(known.rounding.constant.reshape(-1, *[1] * (weight.ndim - 1)), 0, weight)
        bias = np.where(known.rounding.constant, 0, bias)
    op = node.op
    assert has_weights(op)
    rule = op.rounding
    match stage.kernel, core:
        case Kernel.CORE_LISTS, _:
            signs = np.where(known.rounding.constant[:, None], 0, graph.param(node, "weight").reshape(len(weight), -1))
            levels = np.ones((len(weight), 2)) if op.levels is None else graph.param(node, "levels")
            out = lists(signs.astype(np.int64), levels.astype(np.int64), bias, known)
        case Kernel.CORE_DENSE, CoreKernels.DSP:
            out = _dense_arrays(_in_words(weight), bias, known, rule)
        case Kernel.CORE_DENSE, CoreKernels.ARMV6M:
            out = armv6m.dense(_in_words(weight), bias, known)
        case Kernel.CORE_DENSE, CoreKernels.HELIUM:
            out = helium.dense(weight.reshape(len(weight), -1), bias, known)
        case Kernel.CORE_DEPTHWISE, CoreKernels.DSP:
            out = _taps_arrays(weight.reshape(len(weight), -1), bias, known, rule)
        case Kernel.CORE_DEPTHWISE, CoreKernels.ARMV6M:
            out = armv6m.taps(weight.reshape(len(weight), -1), bias, known)
        case Kernel.CORE_DEPTHWISE, CoreKernels.HELIUM:
            out = helium.taps(weight.reshape(len(weight), -1), bias, known)
        case _, CoreKernels.DSP:
            out = _rows_arrays(weight.reshape(len(weight), 3, 3), bias, known, rule)
        case _, CoreKernels.ARMV6M:
            out = armv6m.rows(weight.reshape(len(weight), 3, 3), bias, known)
        case _, CoreKernels.HELIUM:
            out = helium.rows(weight.reshape(len(weight), 3, 3), bias, known)
        case _:
            assert_never(core)
    return out if known.by_words else out | integer_arrays(graph, node)


def _in_words(weight: Ints) -> Ints:
    """Rows of a window as they are gathered: the whole words of each, then what these leave of all of them."""
    runs = weight.reshape(*weight.shape[:2], -1)
    whole = runs.shape[2] // WORD * WORD
    rows = np.concatenate([part.reshape(len(weight), -1) for part in (runs[:, :, :whole], runs[:, :, whole:])], 1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % WORD)))


def _dense_arrays(rows: Ints, bias: Ints, known: Finish, rule: Rounding) -> dict[str, Array]:
    rounding = known.rounding
    columns = [rounding.mantissa.astype(np.int64), rounding.nudge.astype(np.int64), rounding.right.astype(np.int64)]
    if len(rows) % 2:  # a channel of nothing before the last
        at = len(rows) - 1
        rows, bias = np.insert(rows, at, 0, axis=0), np.insert(bias, at, 0)
        columns = [np.insert(column, at, value) for column, value in zip(columns, (0, 0, 1), strict=True)]
    fours = rows.reshape(len(rows), -1, WORD)
    if known.wide:
        twice = 2 if known.by_words and rule is Rounding.DOUBLE else 1
        bias, fours = twice * bias, twice * fours
        places = (halves(fours[:, :, i], fours[:, :, i + 2]) for i in (1, 0))
        weights = np.stack(list(places), 2).reshape(len(rows) // 2, 2, -1, 2).transpose(0, 2, 3, 1)
    else:
        bias = 256 * bias - 127 * (fours[:, :, 0] + fours[:, :, 2]).sum(1)
        weights = halves(256 * fours[:, :, 1] + fours[:, :, 0], 256 * fours[:, :, 3] + fours[:, :, 2])
        weights = weights.reshape(len(rows) // 2, 2, -1).transpose(0, 2, 1)
    triples = np.stack(columns, 1).reshape(-1, 6)
    channels = words_of(np.concatenate([bias.reshape(-1, 2), triples], 1))
    return {"weights": weights, "channels": channels}


def _taps_arrays(rows: Ints, bias: Ints, known: Finish, rule: Rounding) -> dict[str, Array]:
    twice = 2 if rule is Rounding.DOUBLE else 1
    fours = twice * rows.reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1)
    rounding = known.rounding
    channels = np.stack([twice * bias, rounding.mantissa, rounding.nudge, rounding.right], 1)
    pairs = np.stack([halves(fours[:, :, 0], fours[:, :, 2]), halves(fours[:, :, 1], fours[:, :, 3])], 2)
    return {"weights": pairs, "channels": words_of(channels)}


def _rows_arrays(taps: Ints, bias: Ints, known: Finish, rule: Rounding) -> dict[str, Array]:
    twice = 2 if rule is Rounding.DOUBLE else 1
    taps, rounding = twice * taps, known.rounding
    outer = [halves(taps[:, i, 0], taps[:, i, 2]) for i in range(3)]
    inner = [halves(taps[:, 0, 1], taps[:, 1, 1]), halves(rounding.right, taps[:, 2, 1])]
    last = [words_of(twice * bias), rounding.mantissa, rounding.nudge]
    return {"channels": np.stack([*outer, *inner, *last], 1)}
