"""Emitted programs on emulated Cortex-M cores: equal bytes, exact counts, and programs that go wrong."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from conftest import mostly_slow, shared_file
from graphs import Builder, random_image
from rillet.api.plans import options, row_planned
from rillet.api.programs import verify_on_board
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.errors import BuildError, GraphError, TargetError, Unsupported
from rillet.exporters.rlt import to_bytes
from rillet.ir.graph import Graph
from rillet.ir.ops import Input
from rillet.ir.types import Shape
from rillet.models.opening import open_model
from rillet.plan.board.planner import plan_core
from rillet.plan.rows.plan import CoreKernels
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import emulator
from rillet.runtime.emulator import firmware, on_qemu
from rillet.runtime.emulator.interface import interface
from rillet.runtime.emulator.proof import verify_on
from rillet.runtime.verify import random_inputs
from rillet.targets.cores import CORES, Architecture, find, load
from test_cli import rillet
from test_plan import residual

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
pytest.importorskip("elftools", reason="pip install rillet[mcu]")

needs_qemu = pytest.mark.skipif(on_qemu.find_qemu() is None, reason="qemu-system-arm is not installed")
needs_gcc = pytest.mark.skipif(shutil.which(firmware.GCC) is None, reason=f"{firmware.GCC} is not installed")
IN_UNICORN = [name for name, core in CORES.items() if core.unicorn]
GRAPH = residual(6, 6, 3)
PROGRAM = emit(plan_rows(GRAPH))
IMAGES = [random_image(GRAPH, seed) for seed in range(3)]

# A program of another kind than Rillet's: its header says what the emulator must know of it.
HEADER = """
#include <stdint.h>
#define NET_INPUT_HEIGHT 1
#define NET_INPUT_WIDTH 2
#define NET_INPUT_CHANNELS 2
#define NET_OUTPUT_SIZE 4
#define NET_ARENA_BYTES 8
#define NET_ARENA_ALIGN 4
typedef int8_t net_input_t;
typedef int8_t net_output_t;
typedef struct { uint8_t *arena; } net_context;
void net_init(net_context *net, void *arena);
void net_run(net_context *net, const net_input_t *image, net_output_t *output);
"""
INIT = '#include "net.h"\nvoid net_init(net_context *net, void *arena) { net->arena = arena; }\n'
BEGIN = ".syntax unified\n.thumb\n.text\n.global net_run\n.type net_run, %function\n.thumb_func\nnet_run:\n"
END = ".size net_run, . - net_run\n"
IMAGE = np.array([1, -2, 3, 4], np.int8)


def assembly(body: str) -> Mapping[str, str]:
    return {"net.h": HEADER, "net.c": INIT, "run.S": f"{BEGIN}{body}\n{END}"}


def equal_to_reference(made: emulator.Emulation) -> bool:
    expected = [[out.ravel() for out in reference.outputs(GRAPH, image)] for image in IMAGES]
    return all(
        np.array_equal(got, want)
        for outputs, wanted in zip(made.outputs, expected, strict=True)
        for got, want in zip(outputs, wanted, strict=True)
    )


@pytest.mark.parametrize("core", IN_UNICORN)
def test_a_program_gives_the_bytes_of_the_reference(core: str) -> None:
    made = emulator.run(PROGRAM, core, IMAGES)
    assert equal_to_reference(made) and made.core == core and made.emulator.startswith("unicorn ")
    assert sum(made.functions.values()) == made.instructions_by_image[0] > 0
    assert "net_run" in made.functions and "emulator_begin" not in made.functions


@needs_qemu
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_both_emulators_count_the_same(core: str) -> None:
    unicorn, qemu = (emulator.run(PROGRAM, core, IMAGES, emulator=name) for name in ("unicorn", "qemu"))
    assert qemu.emulator.startswith("qemu ") and equal_to_reference(qemu)
    assert unicorn.instructions_by_image == qemu.instructions_by_image
    assert unicorn.flash_reads_by_image == qemu.flash_reads_by_image
    assert unicorn.stack_by_image == qemu.stack_by_image
    assert unicorn.functions == qemu.functions


@needs_qemu
@pytest.mark.parametrize("core", mostly_slow((name for name in CORES if name not in IN_UNICORN), "cortex-m55"))
def test_cores_that_unicorn_lacks_run_in_qemu(core: str) -> None:
    assert equal_to_reference(emulator.run(PROGRAM, core, IMAGES))
    with pytest.raises(Unsupported, match=f"{core}: emulator must be qemu, got unicorn, which does not have this core"):
        emulator.run(PROGRAM, core, IMAGES, emulator="unicorn")


@pytest.mark.slow
def test_without_gcc_zig_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "GCC", "no-such-gcc")
    made = emulator.run(PROGRAM, "cortex-m4", IMAGES)
    assert equal_to_reference(made) and "clang" in made.compiler
    monkeypatch.setattr(firmware, "find_spec", lambda _: None)
    with pytest.raises(
        Unsupported, match=r"no-such-gcc or ziglang must be installed for cortex-m4: pip install rillet"
    ):
        emulator.run(PROGRAM, "cortex-m4", IMAGES)


@needs_gcc
def test_gcc_builds_where_it_is_there() -> None:
    made = emulator.run(PROGRAM, "cortex-m4", IMAGES)
    assert equal_to_reference(made) and made.compiler.startswith(firmware.GCC)


# -- counts that are known beforehand ----------------------------------------------------------------------------------

COPY = "ldr r1, [r1]\nstr r1, [r2]\n"


@pytest.mark.parametrize("name", ["unicorn", pytest.param("qemu", marks=needs_qemu)])
def test_instructions_stack_and_reads_are_those_of_the_assembly(name: emulator.Emulator) -> None:
    body = f"""
  push {{r4, lr}}
  sub sp, #24
  str r0, [sp]
{COPY}
  movs r4, #100
1: subs r4, #1
  bne 1b
  ldr r0, =table
  ldr.w r0, [r0, #2]  @ 32 bits, unaligned
  cmp r0, #0
  itt eq              @ what does not run is fetched
  addeq r0, #1
  addeq r0, #1
  add sp, #24
  pop {{r4, pc}}
.ltorg
.section .rodata
.balign 4
table: .word 1, 1
.text
"""
    made = emulator.run(assembly(body), "cortex-m4", [IMAGE, IMAGE[::-1]], emulator=name)
    assert [outputs[0].tolist() for outputs in made.outputs] == [[1, -2, 3, 4], [4, 3, -2, 1]]
    assert made.instructions_by_image == (6 + 2 * 100 + 8, 6 + 2 * 100 + 8)
    assert made.functions == {"net_run": 214}
    assert made.stack_bytes == 32
    assert made.flash_read_bytes == 4 + 4
    assert made.ram_bytes == 8 + 4
    assert made.constant_bytes == 8


@needs_gcc
def test_sizes_are_those_of_the_compilers_own_tool() -> None:
    built = firmware.build_firmware(PROGRAM, load("cortex-m4"))
    assert built.ram_bytes >= int(re.search(r"NET_ARENA_BYTES (\d+)", PROGRAM["net.h"])[1])  # pyright: ignore
    assert built.code_bytes > 0 and built.constant_bytes > sum(array.nbytes for array in GRAPH.params.values())


# -- programs that go wrong --------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("name", ["unicorn", pytest.param("qemu", marks=needs_qemu)])


@BOTH
def test_a_program_that_does_not_end_is_ended(name: emulator.Emulator) -> None:
    with pytest.raises(BuildError, match="cortex-m4: program must end within 1,000,000 instructions, got more"):
        emulator.run(assembly("b ."), "cortex-m4", [IMAGE], emulator=name, most_instructions=1_000_000)


@BOTH
@pytest.mark.parametrize(
    ("core", "body"),
    [
        ("cortex-m4", "ldr r0, =0x30000000\nldr r0, [r0]\nbx lr\n.ltorg\n"),  # no memory there
        ("cortex-m4", "udf #0\n"),
        ("cortex-m0plus", "adds r1, #1\nldr r0, [r1]\nbx lr\n"),
        ("cortex-m4", "adds r1, #1\nldmia r1!, {r2, r3}\nbx lr\n"),
        ("cortex-m4", "adds r1, #1\nldrd r2, r3, [r1]\nbx lr\n"),
    ],
)
def test_a_fault_names_the_function(name: emulator.Emulator, core: str, body: str) -> None:
    with pytest.raises(BuildError, match=rf"^{core}: program must run to its end, got .* in net_run \(0x[0-9a-f]+\)$"):
        emulator.run(assembly(body), core, [IMAGE], emulator=name)


def test_a_request_of_the_program_itself_is_a_fault() -> None:
    with pytest.raises(BuildError, match=r"program must run to its end, got exception 7 in net_run \(0x[0-9a-f]+\)$"):
        emulator.run(assembly("bkpt 0xab"), "cortex-m4", [IMAGE])


@BOTH
def test_words_may_be_unaligned_where_the_core_allows_it(name: emulator.Emulator) -> None:
    made = emulator.run(assembly("ldr r0, [r1, #1]\nstr r0, [r2]\nbx lr\n"), "cortex-m4", [IMAGE], emulator=name)
    assert made.outputs[0][0].tolist()[:3] == [-2, 3, 4]


@BOTH
def test_too_much_stack_is_told(name: emulator.Emulator) -> None:
    body = "movs r0, #1\nmov r3, sp\nsub.w r3, r3, #0xF000\nldr r2, =stack_begin\nstr r0, [r2]\nbx lr\n.ltorg\n"
    with pytest.raises(BuildError, match="cortex-m4: stack must be at most 65,536 bytes, got more"):
        emulator.run(assembly(body), "cortex-m4", [IMAGE], emulator=name)


def test_wrong_images_programs_and_cores() -> None:
    with pytest.raises(GraphError, match="cortex-m4: image must be 108 values of int8, got 4 of int8"):
        emulator.run(PROGRAM, "cortex-m4", [IMAGE])
    with pytest.raises(GraphError, match="cortex-m4: images must be at least one, got none"):
        emulator.run(PROGRAM, "cortex-m4", [])
    with pytest.raises(TargetError, match="Xtensa LX7: core must be one of cortex-m0, .*, got 'Xtensa LX7'"):
        emulator.run(PROGRAM, "Xtensa LX7", IMAGES)
    with pytest.raises(BuildError, match=r"program must have a header with NET_INPUT_HEIGHT, got a\.c"):
        emulator.run({"a.c": ""}, "cortex-m4", IMAGES)
    with pytest.raises(BuildError, match="error"):
        emulator.run({**PROGRAM, "net.c": "int x = ;"}, "cortex-m4", IMAGES)


def test_a_folder_with_a_prefix_and_an_interface_of_two_outputs(tmp_path: Path) -> None:
    for name, text in emit(plan_rows(GRAPH), prefix="face").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert equal_to_reference(emulator.run(tmp_path, "cortex-m0plus", IMAGES))
    two = HEADER + "#define NET_OUTPUT_2_SIZE 3\ntypedef float net_output_2_t;\n"
    assert [(o.name, o.count, o.dtype.name) for o in interface({"net.h": two}).outputs] == [
        ("output", 4, "int8"),
        ("output_2", 3, "float32"),
    ]


def test_cores_are_found_by_what_people_call_them() -> None:
    assert {name: found.name for name in ("Cortex-M4F", "M0+", "cortex-m7", "Cortex M55") if (found := find(name))} == {
        "Cortex-M4F": "cortex-m4",
        "M0+": "cortex-m0plus",
        "cortex-m7": "cortex-m7",
        "Cortex M55": "cortex-m55",
    }
    assert find("Xtensa LX7") is None
    assert [core.name for core in CORES.values() if core.mve] == ["cortex-m55", "cortex-m85"]
    assert {core.aligned for core in CORES.values() if core.architecture is Architecture.V6M} == {True}


def chain(layers: int) -> Graph:
    b = Builder(np.random.default_rng(1))
    at = b.add(Input(), shape=Shape(8, 8, 4))
    for _ in range(layers):
        at = b.add(b.conv(4, (3, 3)), at)
    return b.graph(at)


@needs_gcc
def test_the_stack_does_not_grow_with_the_network() -> None:
    plans = [plan_core(chain(layers), CoreKernels.DSP) for layers in (4, 40)]
    few, many = (emulator.run(plan, "cortex-m4", list(random_inputs(plan.graph, 1))).stack_bytes for plan in plans)
    assert few == many


# -- the proof ---------------------------------------------------------------------------------------------------------


def test_a_board_proves_its_program(tmp_path: Path) -> None:
    (tmp_path / "net.rlt").write_bytes(to_bytes(GRAPH))
    words = ["verify", str(tmp_path / "net.rlt"), "--target", "stm32f746", "--inputs", "2"]
    told = rillet(*words, "--json")
    assert told.returncode == 0
    said = json.loads(told.stdout)
    assert said["equal"] is True and said["wrong"] == 0 and said["inputs"] == 2 and said["core"] == "cortex-m7"
    plan = row_planned(GRAPH, options("stm32f746"))
    made = emulator.run(plan, "cortex-m7", list(random_inputs(GRAPH, 2)))
    assert plan.kernels == "dsp"
    for name in ("instructions", "ram_bytes", "stack_bytes", "flash_bytes", "flash_read_bytes"):
        assert said[name] == getattr(made, name) > 0
    assert f"an image: {made.instructions:,} instructions" in rillet(*words).stdout


def test_a_wrong_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(PROGRAM)
    weights = files["net_weights.c"]
    files["net_weights.c"] = re.sub(r"(_bias\[2\] = \{\s*)-?\d+", r"\g<1>123456", weights)
    assert files["net_weights.c"] != weights
    monkeypatch.setattr("rillet.backends.c.emit.emit", lambda _: files)
    told = verify_on(plan_rows(GRAPH), load("cortex-m4"), 2)
    assert not told.equal and told.wrong > 0
    assert told.first_difference is not None and told.first_difference.backend == "cortex-m4"
    assert "different" in repr(told)


def test_only_boards_with_such_a_core_are_emulated() -> None:
    said = "must be planned for a board with a Cortex-M core here, got"
    with pytest.raises(TargetError, match=f"{said} Espressif ESP32-S3"):
        verify_on_board(row_planned(GRAPH, options("esp32s3")))
    with pytest.raises(TargetError, match=f"{said} none"):
        verify_on_board(plan_rows(GRAPH))


# -- networks as they are published ------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"])
@pytest.mark.parametrize(
    "file",
    ["mlperf_tiny/vww_96_int8.tflite", "mlperf_tiny/pretrainedResnet_quant.tflite", "vww/person_detect_model.tflite"],
)
def test_published_networks(file: str, core: str) -> None:
    graph = open_model(str(shared_file(file))).graph
    image = random_image(graph)
    made = emulator.run(plan_rows(graph), core, [image])
    for got, want in zip(made.outputs[0], reference.outputs(graph, image), strict=True):
        assert np.array_equal(got, want.ravel())
