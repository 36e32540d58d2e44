"""Sizes and frequencies as people write them."""

import pytest

from rillet.errors import TargetError
from rillet.system.quantities import bits_text, bytes_text, parse_frequency, parse_size


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("65536", 65_536),
        (65_536, 65_536),
        ("64KiB", 65_536),
        ("64K", 65_536),
        ("64KB", 64_000),
        ("64kB", 64_000),
        ("1.5MiB", 1_572_864),
        ("1M", 1_048_576),
        ("1MB", 1_000_000),
        (" 8 B ", 8),
        ("262,144", 262_144),
        ("262_144 B", 262_144),
    ],
)
def test_sizes(said: str | int, size: int) -> None:
    assert parse_size(said) == size


@pytest.mark.parametrize(
    "said",
    ["", "-1", "0", "0.4B", "1GB", "x", "1e9", "9" * 30, "64k", "64kb", "1,5MiB", "1,00", 0, -5, True, 1.5, None],
)
def test_wrong_sizes(said: str) -> None:
    with pytest.raises(TargetError, match="^--ram must be a size such as 65536, 64KiB or 0.5MiB, got "):
        parse_size(said, "--ram")


@pytest.mark.parametrize(
    ("said", "hertz"),
    [("200MHz", 2e8), ("1.5GHz", 1.5e9), ("32kHz", 32e3), ("50e6Hz", 5e7), ("5e7 Hz", 5e7), (2e8, 2e8), (7, 7.0)],
)
def test_frequencies(said: str | float, hertz: float) -> None:
    assert parse_frequency(said) == pytest.approx(hertz)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("200", "--clock must have a unit .*, as 200MHz, got '200'"),
        ("50e6", "--clock must have a unit"),
        ("fast", "--clock must be a frequency such as 200MHz, got 'fast'"),
        ("200 mhz", "--clock must be a frequency"),
        ("", "--clock must be a frequency"),
        ("0MHz", "--clock must be above 0 and below 1e15 Hz"),
        ("9e99GHz", "--clock must be above 0 and below 1e15 Hz"),
        (float("nan"), "--clock must be a frequency"),
        (float("inf"), "--clock must be a frequency"),
        (-1.0, "--clock must be above 0"),
        (True, "--clock must be a frequency"),
        (None, "--clock must be a frequency"),
    ],
)
def test_wrong_frequencies(said: str, message: str) -> None:
    with pytest.raises(TargetError, match=f"^{message}"):
        parse_frequency(said, "--clock")


def test_bytes_in_messages() -> None:
    assert bytes_text(1000) == "1,000 bytes"
    assert bytes_text(262_144) == "262,144 bytes (256 KiB)"
    assert bytes_text(1_234_567) == "1,234,567 bytes (1,205.6 KiB)"
    assert (bits_text(17), bits_text(17, up=False)) == ("3 bytes", "2 bytes")
