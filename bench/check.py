"""Compares the ratios of two files of `speed.py`; exit code 1 where Rillet lost more than the rounds' spread explains.

usage: python bench/check.py BEFORE.json AFTER.json [--slack 0.05]

Times are not compared: two runs need not be of the same day, nor quite of the same machine. A loss is a ratio that fell
by more than `slack`, and whose better tenth now lies under the worse tenth of before.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rillet.system.checksums import read_record

Record = dict[str, object]
Key = tuple[object, ...]


def opened(path: Path) -> list[Record]:
    """The records in a file of `speed.py`, or in what `rillet bench --json` printed, which has no checksum."""
    text = path.read_text()
    if text.startswith("["):
        print(f"{path}: has no checksum: taken as it is", file=sys.stderr)
        return json.loads(text)
    return read_record(path)[0]["records"]


def read(path: Path) -> dict[Key, tuple[float, float, float]]:
    """Ratio and its spread by model, runtime, precision and threads, where there is one."""
    records = opened(path)
    keys = ("model", "runtime", "precision", "threads")
    return {
        tuple(record[key] for key in keys): (record["ratio"], record["ratio_low"], record["ratio_high"])
        for record in records
        if record["ratio"] is not None and record["runtime"] != "rillet"
    }  # type: ignore[return-value]


def compare(
    before: dict[Key, tuple[float, float, float]], after: dict[Key, tuple[float, float, float]], slack: float
) -> Iterator[tuple[str, bool]]:
    """A line for each pair of figures, and whether it is a loss."""
    for key in before.keys() & after.keys():
        (was, low, _), (now, _, high) = before[key], after[key]
        lost = now < was * (1 - slack) and high < low
        yield f"{' '.join(map(str, key))}: {was:.2f} x to {now:.2f} x{', lost' if lost else ''}", lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--slack", type=float, default=0.05, help="Share that a ratio may fall without being a loss.")
    said = parser.parse_args()
    found = sorted(compare(read(said.before), read(said.after), said.slack))
    if not found:
        sys.exit("the two files have no figure in common")
    for line, _ in found:
        print(line)
    sys.exit(any(lost for _, lost in found))


if __name__ == "__main__":
    main()
