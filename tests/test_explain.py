"""What depthwise-separable convolutions save, and what a network asks of a machine."""

import pytest

from rillet.analyses.explain import demand, explain, explain_layer
from rillet.errors import GraphError
from rillet.models.opening import open_model


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2:width=0.5", "mobilenet_v3_large", "microbotnet"])
def test_the_formula_holds_for_every_pair(name: str) -> None:
    graph = open_model(name).graph
    pairs = [one for one in explain(graph) if one.formula_ratio is not None and one.pair]
    assert len(pairs) >= 20
    for one in pairs:
        assert one.ratio == pytest.approx(one.formula_ratio, rel=1e-12)
        depthwise, pointwise = (graph.by_name[n] for n in one.pair)
        macs = [explain_layer(graph, n.name).multiplications for n in (depthwise, pointwise)]
        assert one.pair_multiplications == sum(macs)


def test_one_layer_by_hand() -> None:
    """Block 3 of MobileNetV1: 56 x 56 pixels, 3 x 3, 128 channels to 128."""
    one = explain_layer(open_model("mobilenet_v1").graph, "block3.depthwise", bits=8)
    assert one.multiplications == 56 * 56 * 9 * 128
    assert one.pair == ("block3.depthwise", "block3.project")
    assert one.pair_multiplications == 56 * 56 * 128 * (9 + 128)
    assert one.standard_multiplications == 56 * 56 * 9 * 128 * 128
    assert one.ratio == pytest.approx(1 / 128 + 1 / 9)
    assert (one.uses_of_an_input, one.uses_of_a_weight) == (9.0, 56 * 56)
    assert one.ring_bytes == (2 * 56 + 3) * 128
    assert (one.weight_bytes, one.input_bytes, one.output_bytes) == (9 * 128, 56 * 56 * 128, 56 * 56 * 128)


def test_a_standard_convolution_says_what_a_pair_would_take() -> None:
    one = explain_layer(open_model("resnet18").graph, "block1.conv1")
    assert one.pair == ()
    assert one.pair_multiplications == 56 * 56 * 64 * (9 + 64)
    assert one.standard_multiplications == one.multiplications == 56 * 56 * 9 * 64 * 64


def test_fuse_pairs_count_both_lines() -> None:
    half = explain_layer(open_model("mobilenet_v1:fuse=half").graph, "block3.project")
    assert half.pair == ("block3.depthwise_row", "block3.depthwise_column", "block3.project")
    assert half.pair_multiplications == 56 * 56 * 128 * (3 + 128)
    assert half.standard_multiplications == 56 * 56 * 9 * 128 * 128
    full = explain_layer(open_model("mobilenet_v1:fuse=full").graph, "block3.project")
    assert full.pair_multiplications == 56 * 56 * (2 * 128 * 3 + 2 * 128 * 128)
    assert full.standard_multiplications == 56 * 56 * 9 * 128 * 128


def test_the_sources_64_times() -> None:
    """Source 002: 16 MB of MobileNetV1 are 64 times a board's 256 KB."""
    asked = demand(open_model("mobilenet_v1").graph, 30, 256 * 1024)
    assert asked.model_bytes / 2**20 == pytest.approx(16.1, abs=0.05)
    assert round(asked.model_over_board) == 64
    assert asked.macs_per_second == 30 * 568_740_352
    assert asked.operations_per_second == 2 * asked.macs_per_second
    assert asked.input_bytes_per_second == 30 * 224 * 224 * 3


def test_wrong_words() -> None:
    graph = open_model("mobilenet_v1").graph
    with pytest.raises(GraphError, match=r"--layer must be one of stem.conv, .*; got 'block99'"):
        explain_layer(graph, "block99")
    with pytest.raises(GraphError, match="--fps must be above 0, got 0"):
        demand(graph, 0, 1)
