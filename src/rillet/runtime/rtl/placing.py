"""Placing and routing of a synthesised design by nextpnr: the clock that it reaches, its longest path, a bitstream.

What is placed is the whole network behind few pins, its stream a byte at a time (pins.v), or one stage with no pins.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rillet.errors import BuildError, TargetError
from rillet.runtime.rtl.placed import Placed, report_of
from rillet.runtime.rtl.simulator import own_text
from rillet.runtime.rtl.synthesis import Part, results, stage_part, top_part
from rillet.runtime.rtl.yosys import run, yosys_version
from rillet.system.cache import workshop
from rillet.system.files import write_file
from rillet.system.reading import open_file
from rillet.targets.chips import StreamChip
from rillet.targets.families import Family

if TYPE_CHECKING:
    from rillet.backends.rtl.design import Design
    from rillet.plan.pipeline.plan import PixelPlan

PINS = "rillet_pins"
_DESIGN, _REPORT, _PLACED, _BITS = "design.json", "report.json", "placed.txt", "design.bit"
_MOST_REPORT, _MOST_BITS = 256 << 20, 64 << 20
_PACKERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ecp5": ("ecppack", ("--compress",)),
    "ice40": ("icepack", ()),
}
"""What makes a bitstream of a placed design."""


def check_placeable(chip: StreamChip, family: Family, stage: str | None) -> None:
    """Raises TargetError for chips that nextpnr does not know."""
    if not family.placer:
        raise TargetError(
            f"{chip.name}: --place must be for a chip of ecp5 or ice40, got {family.name}: nextpnr has no data of "
            "AMD's chips; Vivado places the folder that rillet emit writes"
        )
    if not chip.device or not chip.package:
        raise TargetError(f"{chip.name}: device and package must be in the chip's file to place for it, as nextpnr's")
    if stage is not None and family.name != "ecp5":
        raise TargetError(f"{chip.name}: --place of one stage must be for ecp5, got {family.name}, which needs pins")


def place(
    plan: "PixelPlan", design: "Design", chip: StreamChip, family: Family, stage: str | None, out: Path | None
) -> Placed:
    """Places and routes a design, or one of its stages, whose modules are synthesised or kept; `out`: its bitstream.

    Raises BuildError where a program fails, as for a design that the chip has no room for.
    """
    top = "stage" if stage is not None else PINS
    what = stage or plan.graph.name
    with workshop() as work:
        _link(work, design, family, stage, what)
        words = [f"--{chip.device}", "--package", chip.package, "--json", _DESIGN, "--report", _REPORT, "--seed", "1"]
        words += ["--freq", f"{plan.clock_hz / 1e6:g}", "--timing-allow-fail", "-q", "--top", top]
        words += _ends(family, stage)
        run(family.placer, words, work, what)
        clock, path, used = report_of(_read(work / _REPORT, _MOST_REPORT, what), what)
        made = None if stage is not None else _bitstream(work, family, what, out)
    return Placed(clock, path, used, made, family.placer)


def _ends(family: Family, stage: str | None) -> list[str]:
    if stage is not None:
        return ["--out-of-context"]
    if family.name == "ecp5":
        return ["--lpf-allow-unconstrained", "--textcfg", _PLACED]
    return ["--pcf-allow-unconstrained", "--asc", _PLACED]


def _link(work: Path, design: "Design", family: Family, stage: str | None, what: str) -> None:
    """Writes the netlists of all modules as one."""
    parts = {node: stage_part(design, node) for node in design.stages if stage in (None, node)}
    if stage is None:
        parts[PINS] = pins_part(design)
    distinct = {part.key: part for part in parts.values()}
    made = results(list(distinct.values()), family, yosys_version(), lambda _done, _total: None)
    script: list[str] = []
    if stage is None:
        _copy(made[PINS].netlist, work / "pins.il")
        script += ["read_rtlil pins.il", "delete =stage_*"]
    for place, (node, part) in enumerate((node, part) for node, part in parts.items() if node != PINS):
        _copy(made[distinct[part.key].name].netlist, work / f"{place}.il")
        script.append(f"read_rtlil {place}.il")
        if stage is None:
            script.append(f"rename stage {Path(design.modules[node]).stem}")
    top = "stage" if stage is not None else PINS
    script += [f"hierarchy -top {top}", "flatten", "opt_clean -purge", f"write_json {_DESIGN}"]
    run("yosys", ["-q", "-p", "; ".join(script)], work, what)


def pins_part(design: "Design") -> Part:
    """The network behind few pins without what is in its stages."""
    top = top_part(design)
    text = own_text("pins.v").replace("@IN@", str(design.input.bytes))
    return Part(
        PINS, PINS, {**top.files, "rtl/pins.v": text.replace("@OUT@", str(design.output.beat_bytes))}, top.black
    )


def _copy(netlist: Path | None, to: Path) -> None:
    assert netlist is not None
    shutil.copyfile(netlist, to)


def _read(path: Path, most: int, what: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BuildError(f"{what}: must be placed to {path.name}, got none")
    with open_file(path, most, error=BuildError) as data:
        return data.read()


def _bitstream(work: Path, family: Family, what: str, out: Path | None) -> int:
    packer, options = _PACKERS[family.name]
    run(packer, [*options, _PLACED, _BITS], work, what)
    made = _read(work / _BITS, _MOST_BITS, what)
    if out is not None:
        write_file(out, made)
    return len(made)
