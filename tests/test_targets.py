"""Machines: every number has a source, and a file that is not well formed is refused in one sentence."""

from pathlib import Path

import pytest

from rillet import targets
from rillet.errors import TargetError
from rillet.system.reading import TOML_BYTES

GOOD = """
name = "mine"
about = "a board"
[multipliers]
value = 12
source = "its data sheet"
confidence = "data sheet"
[clock_hz]
value = 1e8
source = "a guess"
confidence = "assumed"
"""


@pytest.mark.parametrize("name", targets.names())
def test_every_number_has_a_source(name: str) -> None:
    chip = targets.load(name)
    assert chip.quantities.keys() >= {"multipliers", "clock_hz"}
    for quantity in chip.quantities.values():
        assert len(quantity.source) > 20 and quantity.confidence in targets.CONFIDENCES


def test_the_machines_of_the_impossible_goal() -> None:
    wanted = {"tensorasic_16384", "tensorasic_65536", "zcu102", "zc706", "u250", "vu9p", "ecp5_85", "ice40_up5k"}
    assert set(targets.names()) == wanted
    chips = [targets.load(name) for name in ("tensorasic_16384", "tensorasic_65536")]
    assert [c.multipliers for c in chips] == [16_384, 65_536]
    assert all(c.clock_hz == 1e9 and c.weights_per_multiplier == 32 and c.memory_bits is None for c in chips)
    assert [c.claimed_images_per_s for c in chips] == [500_000] * 2
    assert targets.load("zcu102").multipliers == 2520
    assert targets.load("ECP5-85") == targets.load("ecp5_85")
    assert targets.load("ice40_up5k").memory_bits == (30 * 4 + 4 * 256) * 1024
    assert targets.load("zcu102").weights_per_multiplier is None


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    chip = targets.load(str(path))
    assert (chip.name, chip.multipliers, chip.clock_hz, chip.memory_bits) == ("mine", 12, 1e8, None)
    assert chip.quantities["clock_hz"].confidence == "assumed"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', "", "must say name"),
        ('name = "mine"', "name = 3", "name: must be a text, got 3"),
        ('name = "mine"', "name = ", "must be TOML"),
        ("[multipliers]", "[multiplier]", "got 'multiplier'; did you mean multipliers?"),
        ("value = 12", "value = 12.5", "multipliers: value must be a whole number, got 12.5"),
        ("value = 12", "value = true", "value must be a number from 1"),
        ("value = 12", "value = nan", "value must be a number from 1"),
        ("value = 12", "value = -1", "value must be a number from 1"),
        ("value = 12", "values = 12", "got 'values'; did you mean value?"),
        ('source = "a guess"', "", "clock_hz: must say source"),
        ('confidence = "assumed"', 'confidence = "sure"', "confidence: must be one of data sheet, claimed, assumed"),
        ('"a board"', '"a board"\nmemory_bits = 7', "memory_bits: must be a table, got 7"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(TargetError, match=f"^mine.toml: .*{message.replace('?', '[?]')}"):
        targets.parse("mine.toml", GOOD.replace(old, new))


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="zcu120: must be a machine; did you mean zcu102?"):
        targets.load("zcu120")
    with pytest.raises(TargetError, match="qqq: must be a machine; there are ecp5_85, .* files ending in .toml"):
        targets.load("qqq")
    with pytest.raises(TargetError, match="no.toml: must be a TOML file, got no file"):
        targets.load(str(tmp_path / "no.toml"))
    big, binary = tmp_path / "big.toml", tmp_path / "binary.toml"
    big.write_text("#" * (TOML_BYTES + 1))
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match="at most 1048576 bytes"):
        targets.load(str(big))
    with pytest.raises(TargetError, match="UTF-8"):
        targets.load(str(binary))
    with pytest.raises(TargetError, match="must be TOML"):
        targets.parse("x", "a=" + "[" * 10_000)
