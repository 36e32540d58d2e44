"""The command line as a user meets it, with right and with wrong words."""

import inspect
import io
import json
import os
import subprocess
import sys
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from conftest import NETWORKS, SHARED, shared_file
from rillet.cli import main
from rillet.cli.app import app

SMALL = "mobilenet_v1:width=0.25,resolution=32"
"""Planned in a tenth of the time of microbotnet, which has three times as many layers."""


def rillet(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """What a command prints and exits with, run in this process: one of its own spends most of its time on imports."""
    command = ["rillet", *map(str, words)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys, "argv", command))
        stack.enter_context(patch.dict(os.environ, env))
        if cwd is not None:
            stack.enter_context(chdir(cwd))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def alone(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as a user meets it."""
    command = [sys.executable, "-m", "rillet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=300)


def failed(*words: object, **env: str) -> str:
    """The one sentence that a command fails with."""
    done = rillet(*words, **env)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("rillet: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr[8:-1]


@pytest.fixture
def vww() -> Path:
    return shared_file(NETWORKS["vww"])


def test_run_names_the_cat_and_proves_it() -> None:
    done = rillet("run", shared_file(NETWORKS["mobilenet_v2"]), SHARED / "photos" / "cat.bmp", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "cat" in result["top"][0]["label"]
    assert result["top"][0]["index"] == 286
    assert 0.5 < result["top"][0]["probability"] < 1
    assert len(result["top"]) == 5
    assert result["arena_bytes"] == result["measured_bytes"] <= 90780
    assert result["layerwise_bytes"] == 1505280
    assert result["macs"] == 300775552
    assert result["weight_bytes"] == 3543268
    assert result["latency_ms"] > 0


def test_run_as_text(vww: Path) -> None:
    done = rillet("run", vww, SHARED / "photos" / "grace_hopper.bmp")
    assert done.returncode == 0, done.stderr
    assert " person " in done.stdout.splitlines()[1]
    assert "activations, measured  10,953 B (10.7 KiB)" in done.stdout


def test_run_without_model_takes_what_comes_with_rillet() -> None:
    done = rillet("run", "--json", RILLET_MODELS="")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["top"][0]["label"] == "cat"
    assert result["arena_bytes"] == result["measured_bytes"]
    assert result["compared"] == "bytes"


def test_labels(vww: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("no person\nperson\n")
    photo = SHARED / "photos" / "grace_hopper.bmp"
    done = rillet("run", vww, photo, "--labels", labels, "--json")
    assert json.loads(done.stdout)["top"][0]["label"] == "person"
    labels.write_text("one\n")
    assert "must have a line for each of 2 classes, got 1" in failed("run", vww, photo, "--labels", labels)
    assert "must be a label file, got no file" in failed("run", vww, photo, "--labels", tmp_path / "none.txt")


def test_verify(vww: Path) -> None:
    done = rillet("verify", vww, "--inputs", 2, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["equal"] is True
    assert result["inputs"] == 2
    assert result["first_difference"] is None
    assert "reference = c = litert on 1 inputs" in rillet("verify", vww, "--inputs", 1, "--against", "litert").stdout


def test_verify_against_what_is_not_there(vww: Path) -> None:
    assert (
        failed("verify", vww, "--against", "nobody")
        == "--against must be one of litert, tflm, onnxruntime, got 'nobody'"
    )
    person = shared_file(NETWORKS["person"])
    assert "LiteRT refuses this file" in failed("verify", person, "--against", "litert")


def test_plan(vww: Path) -> None:
    done = rillet("plan", vww, "--ram", "16KiB", "--objective", "time", "--json")
    result = json.loads(done.stdout)
    assert result["kind"] == "rows"
    assert result["arena_bytes"] <= 16384
    assert sum(len(s["stages"]) for s in result["segments"]) == 30
    assert result["macs"] == 7489664
    assert "10,953" in rillet("plan", vww).stdout
    assert "--ram must be at least 10953 bytes for this network, got 5120" in failed("plan", vww, "--ram", "5KiB")
    assert "--ram must be a size such as" in failed("plan", vww, "--ram", "lots")
    fast, slower = (
        json.loads(rillet("plan", vww, "--target", "avx2", "--json", *more).stdout)["arena_bytes"]
        for more in (("--max-slowdown", 0), ("--max-slowdown", 20))
    )
    assert slower < fast
    both = failed("plan", vww, "--max-slowdown", 5, "--ram", "1MiB")
    assert both.startswith("--max-slowdown must come without --ram")


def test_emit_replaces_its_own_files_only(vww: Path, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "mine.txt").write_text("kept")
    done = rillet("emit", vww, "-o", tmp_path / "net")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net" / "net.c").exists()
    assert (tmp_path / "net" / "mine.txt").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]
    (tmp_path / "file").write_text("")
    assert "must be a folder, got a file" in failed("emit", vww, "-o", tmp_path / "file")


def test_show(vww: Path) -> None:
    assert "block3.depthwise" in rillet("show", vww).stdout
    assert rillet("show", vww, "--text").stdout.startswith('rillet 1\ngraph "vww_96_int8"\n')
    assert json.loads(rillet("show", vww, "--json").stdout)["macs"] == 7489664


def test_help_is_quick_and_loads_no_heavy_library() -> None:
    code = "import sys, rillet, rillet.cli; print(sorted({'torch', 'onnx', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "verify" in alone("--help").stdout
    assert "verify" in alone().stdout


def test_unknown_options_are_named() -> None:
    done = alone("run", "--nonsense")
    assert done.returncode == 2
    assert "No such option: --nonsense" in done.stderr


def test_wrong_models(tmp_path: Path) -> None:
    assert "or a network of the zoo such as mobilenet_v2), got no file" in failed("show", tmp_path / "none.tflite")
    assert "got a folder" in failed("show", tmp_path)
    (tmp_path / "a.pt").write_bytes(b"x")
    assert "holds weights alone: say a network of the zoo, and --weights a.pt" in failed("show", tmp_path / "a.pt")
    (tmp_path / "a.txt").write_bytes(b"x")
    assert "file, got '.txt'" in failed("show", tmp_path / "a.txt")
    (tmp_path / "a.tflite").write_bytes(b"")
    assert "must be a TFLite file" in failed("show", tmp_path / "a.tflite")


def test_wrong_images(vww: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    message = failed("run", vww, tmp_path / "a.png")
    assert message == f"{tmp_path / 'a.png'}: must be an image file that can be decoded, got: unknown image format"
    assert "got no file" in failed("run", vww, tmp_path / "b.png")
    assert "got a folder" in failed("run", vww, tmp_path)
    assert "IMAGE must be given with MODEL" in failed("run", vww)
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    assert "must be an image file that can be decoded" in failed("run", vww, tmp_path / "cut.png")


def test_no_compiler_and_a_wrong_one(vww: Path, tmp_path: Path) -> None:
    photo = SHARED / "photos" / "cat.bmp"
    empty = {"RILLET_CACHE": str(tmp_path / "cache"), "PATH": "/nonexistent"}
    assert "CC must be a C compiler on this machine, got 'nocc'" in failed("run", vww, photo, CC="nocc", **empty)
    wrong = tmp_path / "cc"
    wrong.write_text("#!/bin/sh\necho 'net.c:1: fatal error: no' >&2\nexit 1\n")
    wrong.chmod(0o755)
    assert "net.c:1: fatal error: no" in failed("run", vww, photo, CC=str(wrong), RILLET_CACHE=str(tmp_path / "c"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_unwritable_cache(vww: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    done = rillet("run", vww, SHARED / "photos" / "cat.bmp", RILLET_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        f"rillet: {cache}: cache must be writable, got: Not a directory; a private one is used"
    )
    assert done.stderr.count("\n") == 1


def test_models_are_listed() -> None:
    listed = json.loads(rillet("models", "--json", RILLET_MODELS="").stdout)["models"]
    assert {"name", "url", "sha256", "size_bytes", "licence", "path"} <= set(listed[0])
    assert "hub:vww_96_int8" in rillet("models").stdout


def test_a_card_says_what_a_network_was_trained_on_and_what_it_costs() -> None:
    made = json.loads(rillet("models", "mobilenet_v2_cifar10", "--json").stdout)
    assert made["licence"] == "Apache-2.0" and "CIFAR-10" in made["trained_on"] and len(made["trained_by"]) == 4
    boards = {row["board"]: row for row in made["costed"]["boards"]}
    whole = json.loads(rillet("fit", "hub:mobilenet_v2_cifar10", "--target", "nano33ble", "--json").stdout)
    found = boards[whole["board"]]
    assert all(found[key] == whole[key] for key in ("ram_bytes", "flash_bytes", "milliseconds", "macs", "fits"))
    count = json.loads(rillet("count", "hub:mobilenet_v2_cifar10", "--json").stdout)
    assert all(made["costed"][key] == count[key] for key in ("macs", "params", "weight_bytes"))
    text = rillet("models", "hub:mobilenet_v2_cifar10").stdout
    assert "rillet evaluate hub:mobilenet_v2_cifar10 --data cifar10:DIR --check" in text and "90.32 %" in text
    away = rillet("models", "vww_96_int8", RILLET_MODELS="", RILLET_CACHE="/nowhere")
    assert away.returncode == 0 and "not here; downloaded when used" in away.stdout and "board" not in away.stdout
    wrong = rillet("models", "mobilenet_v2_cifar")
    assert wrong.returncode == 1 and "did you mean hub:mobilenet_v2_cifar10?" in wrong.stderr


def test_raw_arrays_and_overrides(vww: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((96, 96, 3), np.int8))
    done = rillet("run", vww, tmp_path / "a.npy", "--raw", "--json")
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "f.npy", np.zeros((96, 96, 3), np.float32))
    assert "must be int8 of 96x96x3" in failed("run", vww, tmp_path / "f.npy", "--raw")
    assert "--mean must be a number" in failed("run", vww, tmp_path / "a.npy", "--mean", "much")
    assert "resize must be stretch or crop" in failed("run", vww, tmp_path / "a.npy", "--resize", "squash")


def printed(*words: object) -> dict[str, object]:
    done = rillet(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_count_as_json_and_text() -> None:
    counted = printed("count", "microbotnet:width=0.32", "--convention", "thop-2020", "--by", "kind")
    assert (counted["macs"], counted["params"], counted["by"]) == (932886, 236658, "kind")
    layers = printed("count", "mobilenet_v2", "--by", "layer", "--bits", 8)["layers"]
    assert layers[0]["shape"] == [112, 112, 32]  # type: ignore[index]
    done = rillet("count", "mobilenet_v1")
    assert "568,740,352 MACs, 4,231,976 parameters" in done.stdout
    assert "not counted by this convention: batch norm" in done.stdout


def test_explain_as_json_and_text() -> None:
    asked = printed("explain", "mobilenet_v1", "--fps", 10, "--memory", "1MiB")
    assert asked["demand"]["macs_per_second"] == 5_687_403_520  # type: ignore[index]
    assert printed("explain", "mobilenet_v1", "--layer", "block3.project")["pair"] == [
        "block3.depthwise",
        "block3.project",
    ]
    assert "1/N + 1/K² = 0.1189" in rillet("explain", "mobilenet_v1", "--layer", "block3.project").stdout


def test_tables_and_comparisons() -> None:
    assert len(printed("table", "fuseconv")["rows"]) == 25  # type: ignore[arg-type]
    assert rillet("table", "alpha", "--csv").stdout.count("\n") == 9
    assert rillet("table", "alpha", "--markdown").stdout.startswith("| alpha |")
    rows = printed("compare", SMALL, "mobilenet_v1:width=0.5,resolution=32")["networks"]
    assert [row["name"] for row in rows] == [SMALL, "mobilenet_v1:width=0.5,resolution=32"]  # type: ignore[union-attr]


def test_draw_writes_a_picture(tmp_path: Path) -> None:
    done = rillet("draw", "microbotnet:width=0.32", "-o", tmp_path / "net.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    assert printed("draw", "mobilenet_v2", "--format", "mermaid")["picture"].startswith("---")  # type: ignore[union-attr]
    assert "--format must be one of svg, mermaid" in failed("draw", "mobilenet_v2", "--format", "png")
    assert "cannot be written" in failed("draw", "mobilenet_v2", "-o", tmp_path / "none" / "net.svg")


def test_draw_pipelines_and_fronts(tmp_path: Path) -> None:
    chip = ("--pipeline", "--interval", 20_000, "--clock", "50MHz")
    picture = printed("draw", "microbotnet", *chip)["picture"]
    assert "an image every 20,000 cycles: 2,500.0 a second" in str(picture)
    done = rillet("draw", "microbotnet", *chip, "-o", tmp_path / "pipeline.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pipeline.svg").read_text() == picture
    assert "every bottleneck buffered" in rillet("draw", "mobilenet_v2:top=false", "--front").stdout
    assert "--pipeline must come with --target" in failed("draw", "microbotnet", "--pipeline")
    assert "--pipeline must come with --target" in failed("draw", "microbotnet", "--pipeline", "--clock", "1MHz")
    assert "--interval must come with --pipeline" in failed("draw", "microbotnet", "--interval", 20_000)
    assert "--ceil must come with --pipeline or --floor or --target alone, got --front" in failed(
        "draw", "microbotnet", "--front", "--ceil"
    )
    words = failed("draw", "microbotnet", *chip, "--format", "mermaid")
    assert words == "--format must come with the network alone, got --pipeline"
    assert "must be given, got --pipeline and --front" in failed("draw", "microbotnet", *chip, "--front")


def test_tables_of_the_impossible_goal() -> None:
    goal = printed("table", "impossible")
    assert (goal["total"], goal["slower_total"]) == (6112128, 2734080)
    assert printed("table", "recompute")["rows"]
    assert printed("table", "narrow", "mnasnet_b1")["options"]
    assert len(printed("table", "chips", SMALL)["rows"]) == 8  # type: ignore[arg-type]
    assert len(printed("table", "rates", SMALL)["rows"]) == 8  # type: ignore[arg-type]
    for row in printed("table", "hardware", SMALL)["rows"]:  # type: ignore[union-attr]
        assert row["measured_interval_cycles"] == row["interval_cycles"]  # type: ignore[index]
        assert row["rings_full"] == row["rings"] and row["stalled_cycles"] == 0  # type: ignore[index]
    assert "map must be a multiple of the last convolution's 13x13" in failed("table", "impossible", "squeezenet1_1")


def test_plan_and_simulate_a_pipeline() -> None:
    made = printed("plan", "mobilenet_v2:top=false", "--interval", 50176)
    assert (made["kind"], made["multipliers"], made["interval_cycles"]) == ("pixels", 5976, 50176)
    ideal = printed("plan", "mobilenet_v2:top=false", "--interval", 50176, "--ideal")
    assert (ideal["ideal"], ideal["latency_cycles"], made["ideal"]) == (True, 156_872, False)
    assert (made["line_buffer_values"], made["skip_values"]) == (247657, 12336)
    found = printed("simulate", "microbotnet", "--interval", 4096)
    assert found["passed"]
    assert found["interval_cycles"] == found["planned_interval_cycles"] == 4096
    assert found["latency_cycles"] == found["planned_latency_cycles"]
    assert all(ring["peak_pixels"] <= ring["depth_pixels"] for ring in found["rings"])  # type: ignore[union-attr]
    done = rillet("plan", SMALL, "--target", "zcu102", "--clock", "300MHz")
    assert "at 300 MHz" in done.stdout
    made = printed(
        "plan", "mobilenet_v2", "--interval", 12544, *("--devices", 3, "--target", "u250", "--clock", "1GHz", "--ideal")
    )
    assert (len(made["devices"]), made["chip"], made["clock_hz"]) == (3, "Alveo U250", 1e9)  # type: ignore[arg-type]


def test_a_promise_is_answered_where_there_is_no_plan() -> None:
    for command in ("plan", "simulate"):
        done = rillet(command, "mobilenet_v2", "--target", "tensorasic_65536")
        assert done.returncode == 1
        assert "500,000 images/s are promised; of mobilenet_v2 one chip cannot make so many" in done.stdout
        assert "an image every 4,704 cycles, 212,585 images/s at 1000 MHz" in done.stdout
        assert "weights: 3,469,760 in room for 2,097,152, so 1,372,608 have no place; 2 such chips" in done.stdout
        assert done.stderr.startswith("rillet: mobilenet_v2: weights must be at most 2097152")
        done = rillet(command, "mobilenet_v2", "--target", "tensorasic_65536", "--json")
        assert done.returncode == 1
        record = json.loads(done.stdout)
        assert "weights must be at most 2097152" in record["error"]
        assert (record["claim"]["holds"], record["claim"]["unbound_cycles"]) == (False, 4704)
    kept = printed("plan", "mobilenet_v2:top=false,width=0.35", "--target", "tensorasic_65536")
    assert kept["claim"]["holds"] and kept["interval_cycles"] == kept["claim"]["planned_cycles"]  # type: ignore[index]


def test_narrow_sides_of_pipelines() -> None:
    wide = printed("plan", "mobilenet_v2:top=false", "--interval", 50176, "--ideal")
    assert (wide["narrow"], wide["recomputed_macs"]) == ([], 0)
    named = ("mobilenet_v2:top=false", "--interval", 50176, "--recompute", "block2,block14.expand", "--ideal")
    made = printed("plan", *named)
    assert [block["block"] for block in made["narrow"]] == ["block2", "block14"]  # type: ignore[index, union-attr]
    assert made["recomputed_macs"] == 9_461_760 + 4_644_864
    assert made["multipliers"] > wide["multipliers"]  # type: ignore[operator]
    assert made["line_buffer_values"] < wide["line_buffer_values"]  # type: ignore[operator]
    shown = rillet("plan", *named).stdout
    assert "bottleneck buffering: block2, block14; recomputes 14,106,624 MACs, 1.0471x in all" in shown
    found = printed("simulate", *named)
    assert found["passed"] and found["interval_cycles"] == 50176
    memory = ("--memory", f"{made['memory_bits'] // 8}B")  # type: ignore[operator]
    chosen = printed("plan", "mobilenet_v2:top=false", "--interval", 50176, *memory, "--recompute", "auto", "--ideal")
    assert chosen["multipliers"] <= made["multipliers"]  # type: ignore[operator]
    assert "an image every 20,000 cycles" in str(
        printed("draw", "microbotnet", "--pipeline", "--interval", 20_000, "--recompute", "all", "--ideal")["picture"]
    )
    named = ("plan", "mobilenet_v2", "--interval", 50176, "--recompute", "stem.conv")
    assert "got 'stem.conv'" in failed(*named, "--ideal")
    assert "--recompute must come with --ideal: hardware computes each pixel once" in failed(*named)
    assert "--recompute must come with a chip (--target, " in failed("plan", "mobilenet_v2", "--recompute", "all")
    assert "--recompute must come with --pipeline" in failed("draw", "mobilenet_v2", "--recompute", "all")


def test_wrong_words_for_pipelines() -> None:
    assert "multipliers must be at least" in failed("plan", "mobilenet_v2", "--interval", 50176, "--multipliers", 10)
    assert "did you mean zcu102?" in failed("plan", "mobilenet_v2", "--target", "zcu103")
    assert "--clock must be a frequency" in failed("plan", "mobilenet_v2", "--interval", 50176, "--clock", "fast")
    assert "--devices must come with a chip (--target, " in failed("plan", "mobilenet_v2", "--devices", 2)
    assert "must be at least 8139 each" in failed(
        "plan", "mobilenet_v2", "--interval", 12544, "--devices", 3, "--target", "vu9p", "--ideal"
    )
    chips = ("plan", "mobilenet_v2", "--devices", 2, "--ideal")
    assert "multipliers must be at least" in failed(*chips, "--interval", 12544, "--multipliers", 100)
    assert "KiB) a device for 2 devices, got 1,000 bytes" in failed(*chips, "--interval", 12544, "--memory", "1kB")
    assert "interval, multipliers or a target must be given" in failed(*chips, "--memory", "2MiB")


def test_systolic_and_speedups() -> None:
    made = printed("systolic", "mobilenet_v2", "--convention", "fuse")
    assert made["cycles"] == 2961936
    assert made["layers"]
    rows = printed("table", "fuseconv", "--speedup")["rows"]
    assert len(rows) >= 25  # type: ignore[arg-type]
    assert "rows" in failed("systolic", "mobilenet_v2", "--rows", 0)
    on = printed("systolic", "mobilenet_v2", "--target", "gemmini_16x16")
    by_hand = ("--rows", 16, "--columns", 16, "--dataflow", "ws", "--dram", 12.8)
    assert on == printed("systolic", "mobilenet_v2", *by_hand)
    words = failed("systolic", "mobilenet_v2", "--target", "gemmini_16x16", "--rows", 16)
    assert words == "--rows must come without --target, which says it already"
    words = failed("systolic", "mobilenet_v2", "--target", "zcu102")
    assert words == "zcu102: must be a systolic array for systolic, as systolic_64x64; got a chip"
    assert "--speedup must come with table fuseconv" in failed("table", "alpha", "--speedup")


def test_energy_and_fit() -> None:
    found = printed("energy", "microbotnet:width=0.32", "--schedule", "stream", "--weight-memory", "sram_8KB")
    assert 0.99 < found["low_uj"] < found["total_uj"] < found["high_uj"] < 1.96  # type: ignore[operator]
    assert printed("energy", "mobilenet_v2", "--schedule", "systolic")["schedule"] == "systolic"
    fits = printed("fit", "mobilenet_v1:width=0.25,resolution=96", "--target", "nano33ble", "--bits", 8)
    assert fits["fits"]
    assert fits["remedies"] == []
    done = rillet("fit", "mobilenet_v1:width=0.5,resolution=96", "--target", "nano33ble", "--bits", 8, "--json")
    misses = json.loads(done.stdout)
    assert done.returncode == 1
    assert not misses["fits"]
    commands = [remedy["command"] for remedy in misses["remedies"] if remedy["change"]]
    assert commands and all(command.startswith("rillet fit mobilenet_v1:width=") for command in commands)
    assert printed(*commands[-1].split()[1:])["fits"]
    assert len(printed("fit", "mobilenet_v1:width=0.25,resolution=32", "--all")["boards"]) == 9  # type: ignore[arg-type]
    assert "did you mean nano33ble?" in failed("fit", "microbotnet", "--target", "nano33bl")
    assert "45nm" in failed("energy", "microbotnet", "--node", "46nm")
    chip = printed("energy", "microbotnet:width=0.32", "--target", "zcu102")
    (row,) = printed("cost", "microbotnet:width=0.32", "--target", "zcu102")["targets"]  # type: ignore[misc]
    assert (chip["low_uj"], chip["total_uj"], chip["high_uj"]) == (row["low_uj"], row["uj"], row["high_uj"])
    assert "a floor" in rillet("energy", "microbotnet:width=0.32", "--target", "nano33ble").stdout
    assert "must be a systolic array, a chip or a board for energy" in failed(
        "energy", "microbotnet", "--target", "host"
    )
    assert "--operand must come without --target" in failed(
        "energy", "microbotnet", "--target", "zcu102", "--operand", 8
    )
    assert "must be a host or a board for bench" in failed("bench", "microbotnet:seed=0", "--target", "zcu102")


def test_cost() -> None:
    made = printed("cost", SMALL, "--target", "zcu102", "--target", "nano33ble", "--fps", 10)
    assert [row["target"] for row in made["targets"]] == ["zcu102", "nano33ble"]  # type: ignore[union-attr]
    piped = rillet("cost", SMALL, "--target", "all").stdout
    assert "tensorasic_65536" in piped and "…" not in piped
    assert rillet("cost", SMALL, "--target", "zcu102", "--csv").stdout.count("\n") == 2
    assert "| zcu102 |" in rillet("cost", SMALL, "--target", "zcu102", "--markdown").stdout
    assert "did you mean zcu102?" in failed("cost", "microbotnet", "--target", "zcu103")
    assert "--fps must be above 0" in failed("cost", "microbotnet", "--fps", 0)
    assert "--out: suffix must be one of .html, .md, .csv, got '.pdf'" in failed("cost", "microbotnet", "-o", "x.pdf")


def test_cost_as_files(tmp_path: Path) -> None:
    for name, start in (("page.html", "<!DOCTYPE html>"), ("table.md", "| target |"), ("table.csv", "target,machine,")):
        out = tmp_path / name
        done = rillet("cost", SMALL, "--target", "gemmini_16x16", "-o", out)
        assert done.returncode == 0 and str(out) in done.stdout
        assert out.read_text().startswith(start)
    nowhere = tmp_path / "no" / "page.html"
    assert "cannot be written" in failed("cost", "microbotnet", "--target", "zcu102", "-o", nowhere)


def test_draw_of_a_plan_by_its_machine() -> None:
    board = rillet("draw", SMALL, "--target", "stm32f746").stdout
    arena = printed("plan", SMALL, "--target", "stm32f746")["arena_bytes"]
    assert f"{SMALL}: activations in {arena:,} bytes" in board
    assert "an image every" in rillet("draw", SMALL, "--target", "zcu102").stdout
    assert "got a systolic array" in failed("draw", "microbotnet", "--target", "systolic_64x64")
    assert "--format must come with" in failed("draw", "microbotnet", "--target", "stm32f746", "--format", "mermaid")


def test_draw_of_costs() -> None:
    small = SMALL
    for what, target in (("systolic", "gemmini_16x16"), ("energy", "zcu102"), ("roofline", "nano33ble")):
        assert rillet("draw", small, "--cost", what, "--target", target).stdout.startswith("<svg")
    assert printed("draw", small, "--cost", "energy", "--node", "7nm")["format"] == "svg"
    assert "--cost must be one of systolic, energy, roofline" in failed("draw", small, "--cost", "time")
    assert "must be a systolic array" in failed("draw", small, "--cost", "systolic", "--target", "zcu102")
    assert "--target must come with --pipeline or --floor or --target alone" in failed(
        "draw", small, "--front", "--target", "zcu102"
    )
    assert "--node must come with --cost" in failed("draw", small, "--node", "7nm")
    assert "--node must come with --cost energy" in failed("draw", small, "--cost", "roofline", "--node", "7nm")
    assert "--format must come with the network alone, got --cost energy" in failed(
        "draw", small, "--cost", "energy", "--format", "mermaid"
    )


def test_a_microjoule() -> None:
    asked = printed("table", "microjoule")
    rows = {(row["weights"], row["weight_memory"]): row for row in asked["rows"]}  # type: ignore[union-attr]
    assert rows["int8", "sram_8KB"]["once_under"] == "yes"
    assert rows["int8", "dram"]["once_under"] == rows["int8", "dram"]["image_under"] == "no"
    assert [chip["uj"] for chip in asked["chips"]] == [3.8, 14.4]  # type: ignore[union-attr]
    assert printed("table", "microjoule", "binarynet_cifar10", "--node", "7nm")["node"] == "7 nm"
    assert "3.8" in rillet("table", "microjoule", SMALL, "--csv").stdout
    assert "--node must come with table microjoule" in failed("table", "alpha", "--node", "7nm")
    assert "46nm: must be a technology" in failed("table", "microjoule", "--node", "46nm")


def test_models_lists_the_zoo() -> None:
    zoo = {network["name"]: network for network in printed("models")["zoo"]}  # type: ignore[union-attr]
    assert "width=1" in zoo["mobilenet_v2"]["parameters"]
    assert "binarynet_cifar10" in rillet("models").stdout


def test_a_network_of_the_zoo_runs_with_drawn_weights() -> None:
    name = f"{SMALL},fuse=full,classes=4,seed=1"
    result = printed("verify", name, "--inputs", 2)
    assert result["equal"]


def test_wrong_words_for_networks() -> None:
    assert "did you mean mobilenet_v2?" in failed("count", "mobilenet_v22")
    assert "--convention must be one of macs, thop-2020," in failed("count", "mobilenet_v2", "--convention", "flops")
    assert "--by must be one of layer, block, kind" in failed("count", "mobilenet_v2", "--by", "row")
    assert "table must be one of alpha, fuseconv, impossible" in failed("table", "beta")
    assert "--memory must be a size" in failed("explain", "mobilenet_v2", "--board", "big")
    assert "or mobilenet_v2:top=false,seed=0 for drawn ones" in failed("verify", "mobilenet_v2:top=false")
    assert "hub:efficientnet_lite0 is trained, or" in failed("verify", "efficientnet_lite0")
    assert "an oracle must be given a file" in failed("verify", "microbotnet:seed=1", "--against", "litert")


def test_every_command_that_takes_a_network_takes_weights() -> None:
    """But for those that take several, and for a table, whose network stands for a family."""
    lacking = {
        command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
        and "model" in (parameters := inspect.signature(command.callback).parameters)
        and "weights" not in parameters
    }
    assert lacking == {"table"}
