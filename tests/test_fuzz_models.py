"""Model files broken in many ways, names included, from import to a run of the emitted program."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")  # its schema writes broken .tflite files
from conftest import example_counts
from fuzz_models import CALL, without_text


def fuzz(form: str, first: int, count: int) -> None:
    """Runs the script in a process of its own, with limits on its memory and time."""
    script = Path(__file__).with_name("fuzz_models.py")
    command = [sys.executable, str(script), form, str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, f"{done.returncode}\n{done.stderr[-3000:]}"
    ran, refused = map(int, done.stdout.split())
    assert ran + refused == count
    assert min(ran, refused) > count / 10


@example_counts(20, 2000)
@pytest.mark.parametrize("form", ["tflite", "onnx", "rlt"])
def test_broken_models_run_or_give_one_clean_error(form: str, examples: int) -> None:
    fuzz(form, 0 if examples == 20 else 10_000, examples)


@pytest.mark.parametrize("source", [f"/* a */ {CALL} /* b */", f'"a" {CALL}', f"/* *??/\n/ {CALL}", f"// a\n{CALL}"])
def test_what_looks_for_code_in_a_program_finds_it(source: str) -> None:
    assert CALL in without_text(source)


@pytest.mark.parametrize("source", [f"/* {CALL} */", f'"{CALL}"', f'"\\" {CALL}"', f"// {CALL}\n", f"// a \\\n{CALL}"])
def test_and_takes_no_text_for_code(source: str) -> None:
    assert CALL not in without_text(source)
