"""FuSeConv's printed speedups: those that its published latency model gives, and what a plain array makes of them."""

from pathlib import Path

import pytest

from rillet.analyses.sources.speedups import OTHERS, SpeedupRow, speedups
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.models.opening import open_model
from rillet.report import systolic as report
from rillet.report.tables import as_csv

ERRATA = Path(__file__).parents[2] / "docs" / "errata.md"

# From the cycles of the published code on 64x64, baseline over variant: those that are not printed, even cut off.
DIFFER = {
    "mobilenet_v1:form=fuseconv,fuse=half": (6.76, 2_521_760 / 375_032),
    "mobilenet_v1:form=fuseconv,fuse=full50": (2.3, 2_521_760 / 1_143_728),
    "mobilenet_v2:fuse=half": (7.23, 2_961_936 / 411_682),
    "mnasnet_b1:form=fuseconv,fuse=full": (5.06, 2_735_928 / 542_590),
    "mnasnet_b1:form=fuseconv,fuse=half": (7.15, 2_735_928 / 383_974),
    "mobilenet_v3_small:form=fuseconv,fuse=full": (3.02, 693_549 / 231_539),
    "mobilenet_v3_small:form=fuseconv,fuse=half": (4.16, 693_549 / 167_739),
    "mobilenet_v3_small:form=fuseconv,fuse=half50": (1.68, 693_549 / 408_309),
    "mobilenet_v3_large:form=fuseconv,fuse=full": (3.61, 2_003_753 / 558_357),
    "mobilenet_v3_large:form=fuseconv,fuse=half": (5.45, 2_003_753 / 369_901),
}


def opened(model: str) -> Graph:
    return open_model(model).graph


@pytest.fixture(scope="module")
def rows() -> tuple[SpeedupRow, ...]:
    return speedups(opened)


def variants(rows: tuple[SpeedupRow, ...]) -> list[SpeedupRow]:
    return [row for row in rows if row.model != row.baseline]


def test_ten_of_twenty_come_out(rows: tuple[SpeedupRow, ...]) -> None:
    printed = [row for row in variants(rows) if row.printed is not None]
    assert len(printed) == 20
    differ = {row.model: (row.printed, row.speedup) for row in printed if not row.agrees}
    assert differ == DIFFER
    deviations = {row.model: row.deviation_percent for row in printed if row.deviation_percent is not None}
    assert round(deviations.pop("mobilenet_v1:form=fuseconv,fuse=full50"), 1) == -4.1
    assert round(max(abs(deviations[model]) for model in deviations if model in DIFFER), 1) == 1.1


def test_on_a_plain_array_the_full_variants_are_slower(rows: tuple[SpeedupRow, ...]) -> None:
    for row in variants(rows):
        slower = "fuse=full" in row.model or row.model in OTHERS
        assert (row.plain_speedup < 1) == slower, row.model
        assert row.speedup > row.plain_speedup


def test_baselines_are_their_own(rows: tuple[SpeedupRow, ...]) -> None:
    assert len(rows) == 25 + 7
    bases = [row for row in rows if row.model == row.baseline]
    assert [row.model.partition(":")[0] for row in bases] == [
        *("mobilenet_v1", "mobilenet_v2", "mnasnet_b1", "mobilenet_v3_small", "mobilenet_v3_large"),
        *("resnet50", "squeezenet1_1", "vgg16"),
    ]
    assert all(row.speedup == row.plain_speedup == row.exact_speedup == 1 for row in bases)
    assert all(row.model.partition(":")[0] == row.baseline.partition(":")[0] for row in rows)


def test_the_errata_say_so(rows: tuple[SpeedupRow, ...]) -> None:
    section = ERRATA.read_text(encoding="utf-8").partition("## Source 004: speedups")[2].partition("\n## ")[0]
    for row in variants(rows):
        assert f"{row.plain_speedup:.3f}" in section, row.model
        if row.agrees is False:
            assert f"| {row.printed} | {row.speedup:.3f} | {row.deviation_percent:+.1f} % |" in section, row.model
        elif row.printed is None:
            assert f"| `{row.model}` | {row.speedup:.3f} | {row.plain_speedup:.3f} |" in section


def test_on_another_array_nothing_is_compared() -> None:
    rows = speedups(opened, 8)
    assert {row.agrees for row in rows} == {None}
    assert rows[1].cycles == 19_320_552  # MobileNetV1 Full on 8x8, by the published code
    assert "64x64" in report.speedups(rows).notes[-1]
    with pytest.raises(TargetError, match=r"rows of a systolic array must be 1 to 1048576, got 0"):
        speedups(opened, 0)


def test_the_table(rows: tuple[SpeedupRow, ...]) -> None:
    table = report.speedups(rows)
    lines = as_csv(table).splitlines()
    assert lines[2] == '"mobilenet_v1:form=fuseconv,fuse=full",4.1x,4.060x,,-1.0 %,621072,0.559x,slower,4512864,5.042x'
    assert lines[3].startswith(
        '"mobilenet_v1:form=fuseconv,fuse=half",6.76x,6.724x,differs,-0.5 %,375032,1.087x,,2320928'
    )
    assert table.notes[-1] == "10 of 20 printed speedups agree, rounded or cut off (docs/errata.md)"
