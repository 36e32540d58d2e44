"""Source 000, the impossible goal: its table, its two totals, and what they leave out, to the last digit.

The table and the totals are printed in the source. The rest was derived independently of this project for
MobileNetV2-1.0-224 without top; the line and skip buffers were executed pixel by pixel, bit-exact, and shown minimal.
"""

import pytest

from rillet.analyses.sources.buffers import BufferKind
from rillet.analyses.sources.impossible import impossible
from rillet.analyses.sources.narrow import front, narrow
from rillet.analyses.sources.recompute import recompute
from rillet.ir.graph import Graph
from rillet.models.opening import open_model

# Kind, side of the square of points, weights, product, as the source prints them; its stride 2 of block 14 is missing.
ROWS = (
    ("Conv2d s2", 16, 864, 221_184), ("DW", 16, 288, 73_728), ("1x1", 16, 512, 131_072), ("exp", 16, 1_536, 393_216),
    ("DW s2", 8, 864, 55_296), ("1x1", 8, 2_304, 147_456), ("exp", 8, 3_456, 221_184), ("DW", 8, 1_296, 82_944),
    ("1x1", 8, 3_456, 221_184), ("exp", 8, 3_456, 221_184), ("DW s2", 4, 1_296, 20_736), ("1x1", 4, 4_608, 73_728),
    ("exp", 4, 6_144, 98_304), ("DW", 4, 1_728, 27_648), ("1x1", 4, 6_144, 98_304), ("exp", 4, 6_144, 98_304),
    ("DW", 4, 1_728, 27_648), ("1x1", 4, 6_144, 98_304), ("exp", 4, 6_144, 98_304), ("DW s2", 2, 1_728, 6_912),
    ("1x1", 2, 12_288, 49_152), ("exp", 2, 24_576, 98_304), ("DW", 2, 3_456, 13_824), ("1x1", 2, 24_576, 98_304),
    ("exp", 2, 24_576, 98_304), ("DW", 2, 3_456, 13_824), ("1x1", 2, 24_576, 98_304), ("exp", 2, 24_576, 98_304),
    ("DW", 2, 3_456, 13_824), ("1x1", 2, 24_576, 98_304), ("exp", 2, 24_576, 98_304), ("DW", 2, 3_456, 13_824),
    ("1x1", 2, 36_864, 147_456), ("exp", 2, 55_296, 221_184), ("DW", 2, 5_184, 20_736), ("1x1", 2, 55_296, 221_184),
    ("exp", 2, 55_296, 221_184), ("DW", 2, 5_184, 20_736), ("1x1", 2, 55_296, 221_184), ("exp", 2, 55_296, 221_184),
    ("DW", 1, 5_184, 5_184), ("1x1", 1, 92_160, 92_160), ("exp", 1, 153_600, 153_600), ("DW", 1, 8_640, 8_640),
    ("1x1", 1, 153_600, 153_600), ("exp", 1, 153_600, 153_600), ("DW", 1, 8_640, 8_640), ("1x1", 1, 153_600, 153_600),
    ("exp", 1, 153_600, 153_600), ("DW", 1, 8_640, 8_640), ("1x1", 1, 307_200, 307_200),
    ("Expand", 1, 409_600, 409_600),
)  # fmt: skip
LINE_BUFFERS = (
    ("stem.conv", "line", 224, 3, 1_353), ("block1.depthwise", "line", 112, 32, 7_264),
    ("block2.depthwise", "line", 112, 96, 21_792), ("block3.depthwise", "line", 56, 144, 16_560),
    ("block3.add", "skip", 56, 24, 1_392), ("block4.depthwise", "line", 56, 144, 16_560),
    ("block5.depthwise", "line", 28, 192, 11_328), ("block5.add", "skip", 28, 32, 960),
    ("block6.depthwise", "line", 28, 192, 11_328), ("block6.add", "skip", 28, 32, 960),
    ("block7.depthwise", "line", 28, 192, 11_328), ("block8.depthwise", "line", 14, 384, 11_904),
    ("block8.add", "skip", 14, 64, 1_024), ("block9.depthwise", "line", 14, 384, 11_904),
    ("block9.add", "skip", 14, 64, 1_024), ("block10.depthwise", "line", 14, 384, 11_904),
    ("block10.add", "skip", 14, 64, 1_024), ("block11.depthwise", "line", 14, 384, 11_904),
    ("block12.depthwise", "line", 14, 576, 17_856), ("block12.add", "skip", 14, 96, 1_536),
    ("block13.depthwise", "line", 14, 576, 17_856), ("block13.add", "skip", 14, 96, 1_536),
    ("block14.depthwise", "line", 14, 576, 17_856), ("block15.depthwise", "line", 7, 960, 16_320),
    ("block15.add", "skip", 7, 160, 1_440), ("block16.depthwise", "line", 7, 960, 16_320),
    ("block16.add", "skip", 7, 160, 1_440), ("block17.depthwise", "line", 7, 960, 16_320),
)  # fmt: skip
# Expansion's block: values held wide, narrow, window, extra MACs with the rows of the padding.
NARROW = (
    ("block2", 21_792, 3_632, 864, 9_633_792), ("block3", 17_952, 2_760, 1_296, 21_676_032),
    ("block4", 16_560, 2_760, 1_296, 5_419_008), ("block5", 12_288, 1_888, 1_728, 9_633_792),
    ("block6", 12_288, 1_888, 1_728, 9_633_792), ("block7", 11_328, 1_888, 1_728, 2_408_448),
    ("block8", 12_928, 1_984, 3_456, 9_633_792), ("block9", 12_928, 1_984, 3_456, 9_633_792),
    ("block10", 12_928, 1_984, 3_456, 9_633_792), ("block11", 11_904, 1_984, 3_456, 9_633_792),
    ("block12", 19_392, 2_976, 5_184, 21_676_032), ("block13", 19_392, 2_976, 5_184, 21_676_032),
    ("block14", 17_856, 2_976, 5_184, 5_419_008), ("block15", 17_760, 2_720, 8_640, 15_052_800),
    ("block16", 17_760, 2_720, 8_640, 15_052_800), ("block17", 16_320, 2_720, 8_640, 15_052_800),
)  # fmt: skip
# Options taken, values, factor of MACs with the rows of the padding: greedy by values for each MAC.
GREEDY = (
    (0, 259_993, 1.0), (1, 252_281, 1.0080417164038449), (2, 239_777, 1.0261355783124961),
    (3, 222_481, 1.0583024439278759), (4, 212_785, 1.076396305836527), (5, 204_113, 1.1085631714519069),
    (6, 195_441, 1.1407300370672866), (7, 187_953, 1.1728969026826663), (8, 180_465, 1.205063768298046),
    (9, 172_977, 1.2372306339134258), (10, 166_513, 1.2693974995288058), (11, 152_617, 1.3417729471634101),
    (12, 141_385, 1.4141483947980147), (13, 130_153, 1.4865238424326193), (14, 123_753, 1.53678456995665),
    (15, 117_353, 1.587045297480681), (16, 112_393, 1.637306025004712),
)  # fmt: skip
# Layer, tile, MACs of all tiles, MACs once, factor of the whole network, reads of a pixel, rows of the image seen.
RECOMPUTE = (
    ("head.conv", (1, 1), 10_554_640_128, 299_494_272, 35.241542542756875, 49.0, 224),
    ("head.conv", (1, 7), 1_672_454_784, 299_494_272, 5.58426300720703, 7.0, 224),
    ("block13.project", (1, 1), 18_217_849_760, 209_861_120, 61.127990160693294, 136.91089365433675, 224),
    ("block13.project", (2, 2), 5_034_740_064, 209_861_120, 17.110087554529258, 36.645727040816325, 224),
    ("block3.project", (1, 1), 756_334_976, 75_815_936, 3.2722272297748654, 21.597596460459183, 19),
    ("block3.project", (1, 56), 225_272_320, 75_815_936, 1.4990291901141937, 4.647321428571429, 19),
    ("block3.project", (28, 28), 81_398_016, 75_815_936, 1.0186383531234948, 1.138412786989796, 121),
    ("block3.project", (19, 19), 87_234_560, 75_815_936, 1.0381263518789434, 1.285794005102041, 91),
    ("block3.project", (14, 14), 93_325_568, 75_815_936, 1.058463996266346, 1.4421436543367347, 71),
)  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> Graph:
    return open_model("mobilenet_v2:top=false").graph


def test_the_table(graph: Graph) -> None:
    found = impossible(graph).rows
    assert [(*row.points, row.weights, row.product) for row in found] == [(n, n, w, p) for _, n, w, p in ROWS]
    differing = [(row.name, row.kind, kind) for row, (kind, *_) in zip(found, ROWS, strict=True) if row.kind != kind]
    assert differing == [("block14.depthwise", "DW s2", "DW")]


def test_the_totals(graph: Graph) -> None:
    found = impossible(graph)
    assert (found.total, found.slower_total) == (6_112_128, 2_734_080)
    assert (found.interval_cycles, found.slower_interval_cycles) == (49, 196)
    assert found.total * 49 == found.macs == 299_494_272
    early = sum(row.product for row in found.rows if row.points != (1, 1))
    late = sum(row.product for row in found.rows if row.points == (1, 1))
    assert (early, late) == (4_504_064, 1_608_064)
    assert early // 4 + late == found.slower_total
    # What the second total means: 55.9 % busy; folding the layers of 7x7 too needs 1,528,032 at 100 %.
    assert found.slower_total == sum(max(row.weights, row.macs // 196) for row in found.rows)
    assert found.slower_needed == 1_528_032 == found.macs // 196
    assert round(found.slower_busy, 3) == 0.559
    # "With 16 bit weights it should fit inside ~12MB of storage"; each weight once is 4.4 MB.
    assert (found.weight_bits, found.total_bytes, found.weights) == (16, 12_224_256, 2_189_760)


def test_the_buffers_that_reuse_hides(graph: Graph) -> None:
    found = impossible(graph)
    assert (found.line_values, found.skip_values, found.buffer_values) == (247_657, 12_336, 259_993)
    lines = [one for one in found.buffers if one.kind is BufferKind.LINE]
    skips = [one for one in found.buffers if one.kind is BufferKind.SKIP]
    assert [(one.reader, one.width, one.channels, one.values) for one in lines] == [
        (name, width, channels, values) for name, kind, width, channels, values in LINE_BUFFERS if kind == "line"
    ]
    assert [(one.reader, one.width, one.channels, one.values) for one in skips] == [
        (name, width, channels, values) for name, kind, width, channels, values in LINE_BUFFERS if kind == "skip"
    ]


@pytest.mark.parametrize("row", RECOMPUTE, ids=lambda row: f"{row[0]} {row[1][0]}x{row[1][1]}")
def test_recompute_without_buffers(graph: Graph, row: tuple[str, tuple[int, int], int, int, float, float, int]) -> None:
    node, tile, macs, once, factor, reads, field = row
    found = recompute(graph, node, tile)
    assert (found.macs, found.macs_once) == (macs, once)
    assert found.network_factor == pytest.approx(factor, rel=1e-12)
    assert found.input_reads_factor == pytest.approx(reads, rel=1e-12)
    assert found.field == (field, 224 if tile[1] in (7, 56) else field)


def test_no_buffering_at_all_costs_35_times_the_macs(graph: Graph) -> None:
    found = recompute(graph, "head.conv", (1, 1))
    assert round(found.network_factor, 4) == 35.2415
    assert found.input_reads_factor == 49.0


def test_the_narrow_side(graph: Graph) -> None:
    found = narrow(graph)
    assert [
        (one.block, one.wide_values, one.narrow_values, one.window_values, one.extra_macs_steady)
        for one in found.options
    ] == list(NARROW)
    assert found.narrow_values == 48_457
    assert found.extra_macs_steady == 190_869_504
    assert round((found.macs + found.extra_macs_steady) / found.macs, 4) == 1.6373
    # Rows of the padding are not expanded: two of the 3 n of each layer of stride 1, one of those of stride 2.
    assert found.extra_macs == 176_182_272


def test_the_front_meets_or_beats_the_greedy_one(graph: Graph) -> None:
    found = narrow(graph)
    steady = {one.expansion: (one.saved_values, one.extra_macs_steady) for one in found.options}
    for points in (found.front, front(found.wide_values, found.macs, steady)):
        for _, values, factor in GREEDY:
            assert any(point.values <= values and point.factor <= factor + 1e-12 for point in points)
    # With the same costs the front is not just as good: greedy choices are its corners, and it has more in between.
    corners = {point.values for point in front(found.wide_values, found.macs, steady) if point.corner}
    assert corners <= {values for _, values, _ in GREEDY}
    assert len(found.front) > len(GREEDY)
