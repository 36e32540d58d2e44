"""Energy tables: what Rillet has, and files that are wrong."""

from pathlib import Path

import pytest

from rillet.errors import TargetError
from rillet.targets import technology

ENTRY = '{ pj = 0.2, low = 0.1, high = 0.3, basis = "a guess", confidence = "unconfirmed" }'
HEAD = 'name = "T"\nnode_nm = 5\nsource = "nobody"\n'


@pytest.mark.parametrize("name", technology.names())
def test_every_table_loads_and_bands_hold_their_values(name: str) -> None:
    table = technology.load(name)
    assert table.srams == tuple(technology.SRAM_BYTES)
    assert table.dram() in technology.DRAMS
    for entry in table.entries.values():
        assert entry.energy.low < entry.energy.high
        assert entry.energy.low <= entry.energy.pj <= entry.energy.high
    # A larger memory takes more an access, and DRAM more than any.
    accesses = [table.access(memory, 64).pj for memory in (*table.srams, table.dram())]
    assert accesses == sorted(accesses)


def test_an_access_is_64_bits() -> None:
    table = technology.parse("t", HEAD + f"sram_8KB = {ENTRY}")
    assert table.access("sram_8KB", 64) == technology.Energy(0.2, 0.1, 0.3)
    assert table.access("sram_8KB", 16).pj == pytest.approx(0.05)


def test_the_smallest_memory_that_holds_it() -> None:
    table = technology.load("45nm")
    sizes = (1, 8192, 8193, 32768, 32769, 1 << 20, (1 << 20) + 1)
    expected = ["sram_8KB", "sram_8KB", "sram_32KB", "sram_32KB", "sram_1MB", "sram_1MB", None]
    assert [table.sram_for(size) for size in sizes] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + f"int8_mul = {ENTRY}", "t.toml: key must be a known one, got 'int8_mul'; did you mean int8_mult?"),
        ('name = "T"\nsource = "nobody"', "t.toml: must say node_nm"),
        (HEAD + f"int8_add = {ENTRY}\nint8_add = {ENTRY}", "int8_add must be given once"),
        (HEAD + f"int8_add = {ENTRY.replace('0.1', '-0.1')}", "t.toml: int8_add: low: must be a number above 0"),
        (HEAD + f"int8_add = {ENTRY.replace('0.1', '0.25')}", "pj must lie within low and high, got 0.25, 0.2, 0.3"),
        (HEAD + f"int8_add = {ENTRY.replace('0.3', 'nan')}", "int8_add: high: must be a number"),
        (HEAD + f"int8_add = {ENTRY.replace('0.3', 'inf')}", "int8_add: high: must be a number"),
        (HEAD + f"int8_add = {ENTRY.replace('0.3', '9' * 400)}", "int8_add.high: must be an integer of at most 64"),
        (HEAD + f"int8_add = {ENTRY.replace('0.3', '9' * 5000)}", "t.toml: must be TOML"),
        (HEAD + "int8_add = 0.03", "int8_add: must be a table, got 0.03"),
        (HEAD + f"int8_add = {ENTRY.replace('basis', 'basi')}", "int8_add: key must be a known one, got 'basi'"),
        (HEAD + f"int8_add = {ENTRY.replace('unconfirmed', 'sure')}", "must be one of primary, secondary, unconfirmed"),
        (HEAD.replace('"nobody"', '""'), "t.toml: source: must be a text, got ''"),
        (HEAD.replace("5", "true"), "node_nm: must be a number above 0"),
        ("name = ", "t.toml: must be TOML"),
        ("a = " + "[" * 5000, "t.toml: must be TOML"),
    ],
)
def test_a_wrong_file_names_itself_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        technology.load(str(path))
    assert message in str(caught.value).replace(str(tmp_path) + "/", "")
    assert str(caught.value).startswith(str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="must be a TOML file, got no file"):
        technology.load(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"name = \xff")
    with pytest.raises(TargetError, match="must be text in UTF-8"):
        technology.load(str(tmp_path / "latin.toml"))
    (tmp_path / "long.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(TargetError, match="must be at most 1048576 bytes"):
        technology.load(str(tmp_path / "long.toml"))


def test_an_unknown_name_and_a_table_without_what_is_asked_for() -> None:
    with pytest.raises(TargetError, match="45nn: must be a technology; did you mean 45nm"):
        technology.load("45nn")
    with pytest.raises(TargetError, match="45nm: must have int4_mult for this, and has .*; did you mean int8_mult"):
        technology.load("45nm").operation("int4_mult")
    with pytest.raises(TargetError, match="45nm: must have hbm2 for this, and has sram_8KB, sram_32KB, sram_1MB, dram"):
        technology.load("45nm").access("hbm2", 64)
    with pytest.raises(TargetError, match="must have int8_add"):  # a memory is no operation, nor the other way
        technology.load("45nm").access("int8_add", 64)
