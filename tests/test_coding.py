"""The coder: what it writes is read back, its codes are the shortest, and sizes are those of its bytes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rillet.analyses.coding import canonical_codes, code_lengths, decode, encode, network_size
from rillet.errors import GraphError
from rillet.runtime.quantization import quantize_with
from rillet.runtime.verify import random_inputs
from rillet.transforms.prune import prunable_layers, prune
from rillet.transforms.share import share
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights

FEW = st.one_of(
    arrays(np.int8, st.integers(0, 300), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1, 5])),
    arrays(np.float32, st.integers(0, 300), elements=st.sampled_from([0.0, 0.0, 0.25, -3.5])),
    arrays(np.int8, st.integers(0, 300)),
    arrays(np.int32, st.integers(0, 50)),
)


@settings(max_examples=300, deadline=None)
@given(FEW)
@example(np.zeros(1000, np.int8))
@example(np.array([0] * 700 + [3] + [0] * 10, np.int8))
@example(np.array(([0] * 3 + [2]) * 40, np.int8))
@example(np.full(9, 4, np.int8))
def test_what_is_coded_comes_back(array: np.ndarray) -> None:
    coded = encode(array)
    assert len(coded) <= array.nbytes + 1
    back = decode(coded, array.size, array.dtype)
    assert back.dtype == array.dtype and np.array_equal(back, array)


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9, 0.99])
def test_large_arrays_come_back_near_their_entropy(zeros: float) -> None:
    draw = np.random.default_rng(0)
    array = np.rint(draw.normal(0, 6, 20_000)).astype(np.float32)
    array[draw.random(array.size) < zeros] = 0
    coded = encode(array)
    assert np.array_equal(decode(coded, array.size, array.dtype), array)
    _, counts = np.unique(array, return_counts=True)
    entropy = -(counts / array.size * np.log2(counts / array.size)).sum() * array.size / 8
    tables = 6 * len(counts) + 300
    # Huffman's codes are within a bit of the entropy of a symbol, in practice within a few hundredths of it.
    assert len(coded) <= 1.05 * entropy + tables
    if zeros < 0.5:
        assert len(coded) >= entropy


def slow_cost(counts: list[int]) -> int:
    """Bits of the shortest prefix code: joins the two rarest until one is left, and adds up what is joined."""
    left, cost = sorted(counts), 0
    while len(left) > 1:
        joined = left[0] + left[1]
        cost, left = cost + joined, sorted([*left[2:], joined])
    return cost


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_codes_are_the_shortest_and_none_begins_another(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    used = [place for place, count in enumerate(counts) if count]
    assert [place for place in range(len(counts)) if lengths[place]] == used
    if len(used) > 1:
        assert int((lengths * counts).sum()) == slow_cost([counts[place] for place in used])
    codes = canonical_codes(lengths)
    words = sorted(f"{codes[place]:0{lengths[place]}b}" for place in used)
    assert all(not second.startswith(first) for first, second in pairwise(words))


@pytest.mark.parametrize("cut", [1, 3, 10, 40])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    array = np.tile(np.array([0, 0, 0, 1, 0, 0, -1, 2], np.int8), 100)
    with pytest.raises(GraphError, match="coded array must be whole"):
        decode(encode(array)[:-cut], array.size, array.dtype)
    with pytest.raises(GraphError, match="coded array must be whole"):
        decode(bytes([0]) + b"123", 4, np.int8)


def test_the_sizes_of_a_network() -> None:
    graph = with_seeded_weights(build("microbotnet", {"width": "0.25"}))
    plain = network_size(graph)
    arrays = sum(array.size for array in graph.params.values())
    assert plain.dense_bytes == plain.packed_bytes == 4 * arrays == graph.weight_bytes
    assert plain.packed_bytes <= plain.coded_bytes + 64  # normal deviates do not shrink; arrays of one value do
    layers = prunable_layers(graph)
    small = network_size(share(prune(graph, 0.7, layers), 4, layers))
    by_name = {one.name: one for one in small.tensors}
    for name in layers:
        one, array = by_name[f"{name}.weight"], graph.params[f"{name}.weight"]
        assert one.distinct <= 17 and one.zeros >= int(0.7 * array.size) and one.kind in ("values", "runs")
        # A place in the codebook takes 4 bits of a third of the weights; where they are, about a bit for each.
        assert one.coded_bytes < array.nbytes / 8
    made = quantize_with(graph, random_inputs(graph, 1))
    whole = network_size(made)
    scales = sum(4 * array.size for name, array in made.params.items() if name.endswith("weight_scale"))
    assert whole.packed_bytes == made.weight_bytes + scales
    assert whole.coded_bytes < whole.packed_bytes < whole.dense_bytes
    for one in whole.tensors:
        array = made.params[one.name]
        assert one.values == array.size and one.zeros == (array == 0).sum()
    with pytest.raises(GraphError, match="must have weights to be coded, got none"):
        network_size(replace(graph, params={}))
