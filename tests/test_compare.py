"""Networks side by side."""

import pytest

from rillet.analyses.memory import stored_as
from rillet.errors import GraphError
from rillet.models.compare import compare
from rillet.models.opening import open_model
from rillet.plan.rows.planner import plan_rows
from rillet.report import tables
from rillet.transforms.fold import fold


def graphs(*names: str):
    return [open_model(name).graph for name in names]


def test_pushing_strides_back_costs_and_is_another_function() -> None:
    """Source 000: 'it seems that the stride of 2 can be pushed up to the last DW layer in a set of blocks'."""
    first, moved = compare(graphs("mobilenet_v2", "mobilenet_v2:strides=last"))
    assert moved.params == first.params == 3_504_872
    assert (first.macs, moved.macs) == (300_774_272, 592_271_744)
    assert (first.layerwise_bytes, moved.layerwise_bytes) == (1_505_280, 2_408_448)
    assert first.streamed_bytes == 90_777
    assert moved.streamed_bytes is not None
    assert moved.streamed_bytes > first.streamed_bytes
    assert moved.function == "other"


@pytest.mark.slow
def test_the_same_network_is_the_same_function() -> None:
    _, same, torch, other = compare(
        graphs("microbotnet", "microbotnet:width=1", "microbotnet:padding=keras", "microbotnet:width=0.5")
    )
    assert (same.function, torch.function, other.function) == ("same", "other", "other weights")


def test_streamed_bytes_are_those_of_the_plan() -> None:
    graph = open_model("squeezenet1_1:resolution=64").graph
    row, _ = compare([graph, graph])
    assert row.streamed_bytes == plan_rows(stored_as(fold(graph), 8)).arena_bytes
    real, _ = compare([graph, graph], bits=32)
    assert real.streamed_bytes == plan_rows(fold(graph)).arena_bytes
    assert real.layerwise_bytes == 4 * row.layerwise_bytes


def test_published_accuracy_comes_with_its_source() -> None:
    one, other = compare(graphs("mobilenet_v1:width=0.25,resolution=128", "mobilenet_v1:width=0.3,resolution=64"))
    assert one.top1_percent == 41.2
    assert "MobileNetV1" in one.top1_source
    assert other.top1_percent is None


def test_bits_that_no_plan_has() -> None:
    with pytest.raises(GraphError, match="--bits must be 8 or 32, got 4"):
        compare(graphs("microbotnet", "microbotnet:width=0.32"), bits=4)


def test_one_network_is_not_compared() -> None:
    with pytest.raises(GraphError, match="compare must be given two networks or more, got 1"):
        compare(graphs("microbotnet"))


def test_tables_as_csv_and_markdown() -> None:
    names = ("mobilenet_v1:width=0.5,resolution=128", "mobilenet_v1:width=0.25,resolution=128")
    made = tables.comparison(compare(graphs(*names)), 8)
    csv = tables.as_csv(made).splitlines()
    assert csv[0] == "network,MACs,parameters,weight bytes,layer by layer,streamed,top-1,function"
    assert csv[1].startswith(f'"{names[0]}",49160192,1331592,')
    assert csv[2].startswith(f'"{names[1]}",13570048 (0.28x),470072 (0.35x),')
    markdown = tables.as_markdown(made).splitlines()
    assert markdown[1] == "|---|---:|---:|---:|---:|---:|---:|---|"
    assert markdown[2].startswith(f"| {names[0]} | 49,160,192 | 1,331,592 |")
    assert "top-1 as printed" in markdown[-1] or "top-1 as printed" in markdown[-2]
