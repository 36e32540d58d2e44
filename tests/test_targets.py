"""Machines: every number has a source, and a file that is not well formed is refused in one sentence."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from conftest import ROOT
from rillet.api import machines
from rillet.cli.app import app
from rillet.errors import TargetError
from rillet.system.reading import TOML_BYTES
from rillet.targets import catalogue, chips, host
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Kind, kind_of, need
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host
from rillet.targets.quantity import CONFIDENCES
from rillet.targets.writing import to_toml, words

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


def test_the_machines_of_the_impossible_goal() -> None:
    wanted = {"tensorasic_16384", "tensorasic_65536", "zcu102", "zc706", "u250", "vu9p", "ecp5_85", "ice40_up5k"}
    assert set(chips.names()) == wanted
    promised = [chips.load(name) for name in ("tensorasic_16384", "tensorasic_65536")]
    assert [c.multipliers for c in promised] == [16_384, 65_536]
    assert all(c.clock_hz == 1e9 and c.weights_per_multiplier == 32 and c.memory_bits is None for c in promised)
    assert [c.claimed_images_per_s for c in promised] == [500_000] * 2
    assert chips.load("zcu102").multipliers == 2520
    assert chips.load("ECP5-85") == chips.load("ecp5_85")
    assert chips.load("ice40_up5k").memory_bits == (30 * 4 + 4 * 256) * 1024
    assert chips.load("zcu102").weights_per_multiplier is None


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    chip = chips.load(str(path))
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
        (
            'confidence = "assumed"',
            'confidence = "sure"',
            "confidence: must be one of data sheet, measured, claimed, transferred, assumed",
        ),
        ('"a board"', '"a board"\nfamily = "ecp6"', "family: must be one of xcup, xc7, ecp5, ice40"),
        ('"a board"', '"a board"\nmemory_bits = 7', "memory_bits: must be a table, got 7"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(TargetError, match=f"^mine.toml: .*{message.replace('?', '[?]')}"):
        chips.parse("mine.toml", GOOD.replace(old, new))


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="zcu120: must be a chip; did you mean zcu102?"):
        chips.load("zcu120")
    with pytest.raises(TargetError, match="qqq: must be a chip; there are ecp5_85, .* files ending in .toml"):
        chips.load("qqq")
    with pytest.raises(TargetError, match="no.toml: must be a TOML file, got no file"):
        chips.load(str(tmp_path / "no.toml"))
    big, binary = tmp_path / "big.toml", tmp_path / "binary.toml"
    big.write_text("#" * (TOML_BYTES + 1))
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match="at most 1048576 bytes"):
        chips.load(str(big))
    with pytest.raises(TargetError, match="UTF-8"):
        chips.load(str(binary))
    with pytest.raises(TargetError, match="must be TOML"):
        chips.parse("x", "a=" + "[" * 10_000)


# -- all kinds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalogue.names())
def test_every_number_has_a_source(name: str) -> None:
    target = catalogue.load(name)
    assert target.quantities
    for key, quantity in target.quantities.items():
        assert len(quantity.source) > 20 and quantity.confidence in CONFIDENCES
        assert quantity.low <= quantity.value <= quantity.high
        optional = ("memory_bits", "block_rams", "luts", "weights_per_multiplier", "claimed_images_per_s")
        if key.startswith("pipeline."):
            assert isinstance(target, StreamChip)
            assert target.pipeline.quantities[key.removeprefix("pipeline.")] == quantity
        elif key not in (*optional, "cycles_per_mac", "cycles_per_instruction"):
            assert getattr(target, key) == quantity.value  # the number that is computed with is the one with the source


@pytest.mark.parametrize("name", catalogue.names())
def test_every_target_is_written_as_it_is_read(name: str) -> None:
    target = catalogue.load(name)
    again = catalogue.parse(name, to_toml(target))
    assert again == target and again.quantities == target.quantities


@pytest.mark.parametrize("path", sorted((ROOT / "src/rillet/targets").glob("*s/*.toml")), ids=lambda path: path.stem)
def test_every_shipped_file_says_its_kind_by_its_keys(path: Path) -> None:
    if path.parent.name == "technologies":
        with pytest.raises(TargetError):
            catalogue.load(path)
        return
    kind = {"chips": Kind.CHIP, "boards": Kind.BOARD, "arrays": Kind.ARRAY}[path.parent.name]
    found = catalogue.load(path)
    assert kind_of(found) is kind and path.stem in catalogue.names(kind)
    shipped = catalogue.load(path.stem)
    assert found == (replace(shipped, key=str(path)) if isinstance(shipped, Board) else shipped)


def test_the_union_is_closed() -> None:
    """Each class of the union has a kind of its own, and each kind a class, machines, keys and words."""
    members = {kind_of(catalogue.load(name)): type(catalogue.load(name)) for name in catalogue.names()}
    assert set(members) == set(Kind)
    assert set(members.values()) == {Host, *get_args(catalogue.Machine)} == set(get_args(catalogue.Target))
    for kind in Kind:
        for name in catalogue.names(kind):
            target = catalogue.load(name)
            assert kind_of(target) is kind
            assert {*words(target), *(key.partition(".")[0] for key in target.quantities)} <= set(catalogue.keys(kind))
    assert set(catalogue.names((Kind.HOST, Kind.ARRAY))) == {*catalogue.names("host"), *catalogue.names("array")}
    with pytest.raises(TargetError, match="kind must be one of host, board, chip, array, got 'fpga'"):
        catalogue.names("fpga")


def test_a_kind_without_an_answer_says_which_have() -> None:
    board = catalogue.load("nano33ble")
    assert need(board, (Board,), "fit") is board
    with pytest.raises(TargetError, match="^host: must be a board for fit, as nano33ble; got a host$"):
        need(catalogue.load("host"), (Board,), "fit", "host")
    with pytest.raises(
        TargetError,
        match="^ZCU102: must be a systolic array or a host for this, as systolic_64x64 or host; got a chip$",
    ):
        need(catalogue.load("zcu102"), (ArrayMachine, Host), "this")


def test_hosts() -> None:
    assert catalogue.load("host") == host.this_host()
    assert catalogue.load("avx2") == Host("avx2", "avx2")
    assert {q.confidence for q in catalogue.load("neon").quantities.values()} == {"assumed"}
    assert catalogue.load("host").quantities["cores"].confidence == "measured"
    text = (
        'name = "server"\nkernels = "avx512"\nextras = ["avx512vbmi"]\n'
        '[cores]\nvalue = 64\nlow = 32\nhigh = 64\nsource = "its data sheet"\nconfidence = "data sheet"\n'
    )
    found = catalogue.parse("s.toml", text)
    assert found == Host("server", "avx512", 64, extras=("avx512vbmi",))
    assert [found.quantities["cores"].low, found.quantities["l1_bytes"].confidence] == [32, "assumed"]
    assert catalogue.parse("s.toml", to_toml(found)) == found
    for old, new, message in (
        (
            '"avx512"',
            '"avx1024"',
            "kernels: must be one of portable, avx2, avxvnni, avx512, amx, neon, wasm128; got 'avx1024'",
        ),
        ('["avx512vbmi"]', '["amx"]', "extras: must be one of"),
        ('["avx512vbmi"]', '"avx512vbmi"', "extras must be a list"),
        ("value = 64", "value = 0", "cores: value must be a number from 1"),
        ("low = 32", "low = 65", "cores: value must lie within low and high, got 65, 64, 64"),
        ("low = 32\n", "", "cores: must say low"),
        ("[cores]", "[core]", "got 'core'; did you mean cores?"),
    ):
        assert old in text
        with pytest.raises(TargetError, match=f"^s.toml: .*{re.escape(message)}"):
            host.parse("s.toml", text.replace(old, new))


def test_a_board_names_its_kernels() -> None:
    board = catalogue.load("stm32f746")
    assert isinstance(board, Board) and board.kernels == "dsp"
    with pytest.raises(TargetError, match="b.toml: kernels: must be one of portable"):
        catalogue.parse("b.toml", to_toml(board).replace('"dsp"', '"sve"'))


def test_words_that_a_terminal_would_obey_are_written_escaped() -> None:
    chip = catalogue.load("zcu102")
    assert isinstance(chip, StreamChip)
    odd = replace(chip, name='a"b\\c\x1b[2J\x7f\x9b\u202e', about="Prüfstand\nand more")
    text = to_toml(odd)
    assert all(char.isprintable() for line in text.split("\n") for char in line)
    assert catalogue.parse("x", text) == odd


# -- the public functions and the command ------------------------------------------------------------------------------


def test_targets_by_name_and_kind(tmp_path: Path) -> None:
    assert {name for kind in Kind for name in machines.targets(kind)} == set(machines.targets())
    assert machines.target("ZCU102") == catalogue.load("zcu102")
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert machines.target(path) == chips.load(str(path))
    with pytest.raises(TargetError, match="target must be a name or the path of a TOML file, got int"):
        machines.target(7)  # type: ignore[arg-type]


def test_the_command(tmp_path: Path) -> None:
    def printed(*said: str) -> str:
        done = CliRunner().invoke(app, ["targets", *said])
        assert done.exit_code == 0, done.exception
        return done.stdout

    listed = printed("--csv").splitlines()
    assert [line.split(",")[0] for line in listed[1:]] == list(machines.targets())
    assert [one["target"] for one in json.loads(printed("--kind", "board", "--json"))["targets"]] == list(
        catalogue.names(Kind.BOARD)
    )
    assert "MLPerf Tiny v1.1" in printed("nano33ble", "--csv")
    found = json.loads(printed("nano33ble", "--json"))
    assert (found["kind"], found["core"]) == ("board", "cortex-m4")
    assert found["numbers"]["cycles_per_mac"]["low"] == 2.13
    path = tmp_path / "mine.toml"
    path.write_text(printed("systolic_64x64", "--toml"))
    assert catalogue.load(path) == catalogue.load("systolic_64x64")
    assert "rows" in printed(str(path), "--markdown")
    for said, message in (
        (("--toml",), "--toml must come with NAME"),
        (("zcu102", "--kind", "chip"), "--kind must come with the list of targets"),
        (("zcu102", "--toml", "--json"), "got --toml and --json"),
        (("--kind", "asic"), "kind must be one of"),
    ):
        done = CliRunner().invoke(app, ["targets", *said])
        assert done.exit_code != 0 and message in str(done.exception)


@pytest.mark.parametrize("kind", Kind)
def test_the_page_describes_every_key(kind: Kind) -> None:
    page = (ROOT / "docs" / "targets.md").read_text()
    section = re.search(rf"^## [^\n]*\(`{kind}`\)\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert section, kind
    described = re.findall(r"^\| `(\w+)` \|", section[1], re.M)
    assert sorted(described) == sorted(catalogue.keys(kind))


def test_the_page_describes_every_confidence() -> None:
    page = (ROOT / "docs" / "targets.md").read_text()
    assert all(f"| {word} | {means} |" in page for word, means in CONFIDENCES.items())
