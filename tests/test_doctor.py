"""What doctor finds, and what it says where something is missing; the help by panels."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rillet import __version__
from rillet.cli import app
from rillet.cli.app import FORMER, PANELS
from rillet.runtime import doctor
from rillet.targets.host import KERNELS

RUNNER = CliRunner()


def test_a_machine_that_can_run_networks() -> None:
    found = doctor.doctor()
    assert found.healthy and found.kernels in KERNELS and found.compiler_version
    assert "\n" not in repr(found) and found.compiler_version in repr(found)
    assert {one.name for one in found.oracles} == {"litert", "tflm", "onnxruntime"}


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    done = RUNNER.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "problem: CC must be a C compiler on this machine, got '/nowhere/cc'" in " ".join(done.stdout.split())


def test_a_cache_that_others_can_write_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("RILLET_CACHE", str(tmp_path / "open"))
    done = RUNNER.invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and not found["cache_trusted"] and not found["healthy"]
    assert "must be writable by this user alone" in found["problems"][0]


def test_what_is_not_installed_comes_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda _: None)
    found = doctor.doctor()
    assert all(one.version is None and one.install.startswith("pip install 'rillet[") for one in found.packages)


def test_it_imports_no_optional_package() -> None:
    script = (
        "import sys; from rillet.runtime.doctor import doctor; doctor(); print({'torch', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_command_is_in_one_panel_and_run_is_first() -> None:
    named = [name for names in PANELS.values() for name in names]
    registered = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert registered <= set(named) and len(named) == len(set(named)) and named[0] == "run"
    help_text = RUNNER.invoke(app, ["-h"]).stdout
    panels = [panel for panel, names in PANELS.items() if registered & set(names)]
    places = [help_text.index(f"─ {panel} ─") for panel in panels]
    assert places == sorted(places)


def test_the_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).stdout == f"rillet {__version__}\n"


def test_a_shell_can_complete_commands() -> None:
    script = "import sys; sys.argv = ['rillet']; from rillet.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "_RILLET_COMPLETE": "complete_bash", "COMP_WORDS": "rillet qu", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout == "quantize\n"


@pytest.mark.parametrize(("former", "present"), [(old, new) for old, names in sorted(FORMER.items()) for new in names])
def test_former_names_of_options_work_and_are_not_in_the_help(former: str, present: str) -> None:
    made = typer.Typer(cls=app.info.cls)

    @made.command()
    def one(word: str = typer.Option("", present)) -> None:
        print(f"got {word}")

    @made.command()
    def other(word: str = typer.Option("", former)) -> None:
        print(f"other got {word}")

    assert RUNNER.invoke(made, ["one", former, "x"]).stdout == "got x\n"
    assert RUNNER.invoke(made, ["one", f"{former}=y"]).stdout == "got y\n"
    assert RUNNER.invoke(made, ["other", former, "z"]).stdout == "other got z\n"
    assert former not in RUNNER.invoke(made, ["one", "--help"]).stdout
