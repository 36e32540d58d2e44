"""A wheel, installed outside the repository, has all that the commands need."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow

NETWORK = "mobilenet_v1:width=0.25,resolution=32,classes=10,seed=0"
COMMANDS = (
    "run",
    "--help",
    f"plan {NETWORK}",
    f"plan {NETWORK} --target zcu102",
    f"plan {NETWORK} --target host",
    f"simulate {NETWORK} --target zcu102",
    f"count {NETWORK}",
    f"show {NETWORK}",
    f"explain {NETWORK}",
    "models",
    f"cost {NETWORK} --target all",
    f"fit {NETWORK} --all",
    f"energy {NETWORK}",
    f"systolic {NETWORK}",
    "table alpha",
    f"draw {NETWORK} -o net.svg",
    f"quantize {NETWORK} --data random --limit 2 -o net.rlt",
    "emit net.rlt -o program",
    "verify net.rlt --inputs 1",
    f"convert {NETWORK} -o net.safetensors",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", folder, ROOT], check=True, cwd=folder)
    return next(folder.glob("rillet-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """The interpreter of an environment with the wheel; what it depends on is that of these tests' environment."""
    place = wheel.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, env=_environment())
    # A folder that a .pth names is searched, and its own .pth files, by which this checkout is installed, are not read.
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RILLET_MODELS")}


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "src/rillet"], cwd=ROOT, capture_output=True, text=True, check=True)
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {line.removeprefix("src/") for line in tracked.stdout.split()} <= inside


def test_core_commands_work_outside_the_repository(python: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [python, "-c", "import rillet; print(rillet.__file__)"],
        cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(python.parent.parent)
    for command in COMMANDS:
        done = subprocess.run(
            [python.parent / "rillet", *command.split()],
            cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in ((0, 1) if command.startswith("fit") else (0,)), (command, done.stderr)
        assert done.stdout, command
