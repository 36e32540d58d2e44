"""The regression check: a ratio that fell beyond its spread is a loss, one within it is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from rillet.system.checksums import record_text


def written(path: Path, ratio: float | None, spread: float = 0.02, runtime: str = "litert") -> Path:
    low, high = (None, None) if ratio is None else (ratio - spread, ratio + spread)
    record = {"model": "net", "runtime": runtime, "precision": "int8", "threads": 1}
    own = {**record, "runtime": "rillet", "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
    other = {**record, "ratio": ratio, "ratio_low": low, "ratio_high": high}
    path.write_text(record_text({"records": [own, other]}))
    return path


def check(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "check.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("before", "after", "spread", "lost"),
    [(1.6, 1.7, 0.02, False), (1.6, 1.55, 0.02, False), (1.6, 1.4, 0.02, True), (1.6, 1.4, 0.3, False)],
)
def test_a_loss_is_beyond_slack_and_spread(
    before: float, after: float, spread: float, lost: bool, tmp_path: Path
) -> None:
    done = check(written(tmp_path / "a", before, spread), written(tmp_path / "b", after, spread))
    assert done.returncode == lost
    assert done.stdout == f"net litert int8 1: {before:.2f} x to {after:.2f} x{', lost' if lost else ''}\n"


def test_files_without_a_common_figure(tmp_path: Path) -> None:
    done = check(written(tmp_path / "a", 1.5), written(tmp_path / "b", None))
    assert done.returncode == 1
    assert "no figure in common" in done.stderr
