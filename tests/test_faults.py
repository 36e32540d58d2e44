"""Every writing command, killed before each of its file operations, and with each of them failed for want of room."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ALL = 100_000
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a file is brought to the disk thousands of times."""
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="rillet-faults-", dir=place) as name:
        yield Path(name)


def sweep(case: str, folder: Path, points: int) -> subprocess.CompletedProcess[str]:
    # Its own process: one that forks must have no threads.
    command = [sys.executable, str(Path(__file__).with_name("faults.py")), case, str(folder / "it"), str(points)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("case", "points"),
    [
        ("all", 2),
        pytest.param("train", 2, marks=pytest.mark.slow),
        pytest.param("all", ALL, marks=pytest.mark.slow),
        pytest.param("train", ALL, marks=pytest.mark.slow),
    ],
)
def test_a_fault_leaves_the_old_or_the_new(case: str, points: int, folder: Path) -> None:
    done = sweep(case, folder, points)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" points\n") == (12 if case == "all" else 1)


def test_a_writer_that_is_not_whole_is_told(folder: Path) -> None:
    done = sweep("plainly", folder, 3)
    assert done.returncode == 1 and "must be old or new" in done.stderr, done.stdout + done.stderr
