"""The console blocks of the documentation show what the commands print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, SHARED, shared_file
from rillet.models.opening import open_model
from rillet.report.draw import svg

PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md")))]


def blocks() -> list[tuple[str, str, str]]:
    """Page, command and output of every console block."""
    found: list[tuple[str, str, str]] = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                found.append((page, command, output))
    return found


def comparable(text: str) -> list[str]:
    """Lines without trailing spaces and without times, and without what another plan takes: the machine decides."""
    lines = [re.sub(r"[\d.]+ ms", "- ms", line).rstrip() for line in text.strip().splitlines()]
    lines = [line for line in lines if not line.startswith("with --target host ")]
    return [re.sub(r"- ms +", "- ms ", line) for line in lines]


@pytest.mark.parametrize(("page", "command", "output"), blocks(), ids=lambda v: v.split("\n")[0][:50])
def test_console_blocks(page: str, command: str, output: str, tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip("test data absent: the models of the documentation")
    for path in (p for pattern in ("*.tflite", "*.bmp", "*.pth") for p in SHARED.glob(f"*/{pattern}")):
        (tmp_path / path.name).symlink_to(shared_file(str(path.relative_to(SHARED))))
    (tmp_path / "cifar10").symlink_to(shared_file("cifar10/test_batch.png").parent)
    words = ["rillet", "run"] if command == "make demo" else shlex.split(command)
    assert words[0] == "rillet", page
    done = subprocess.run(
        [sys.executable, "-m", "rillet", *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "RILLET_MODELS": str(tmp_path)},
    )  # fmt: skip
    assert comparable(done.stdout + done.stderr) == comparable(output)


def test_the_picture_of_the_readme_is_what_is_drawn() -> None:
    assert (ROOT / "docs" / "mobilenet_v2.svg").read_text() == svg(open_model("mobilenet_v2").graph)
