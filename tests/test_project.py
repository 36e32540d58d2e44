"""The folder that a board's owner gets: layouts, the example that checks itself, pixels as rows, sections, README."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rillet
from rillet.arithmetic.pictures import from_pixels, pixel_values
from rillet.backends.c.context import context_bytes
from rillet.backends.c.emit import emit
from rillet.backends.c.project.layouts import LAYOUTS
from rillet.backends.c.project.qemu import MEMORY
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Graph, ImageSpec
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.emulator import firmware, on_qemu
from rillet.targets import boards
from rillet.targets.cores import load
from test_cli import rillet as command
from test_plan import residual

needs_gcc = pytest.mark.skipif(shutil.which(firmware.GCC) is None, reason=f"{firmware.GCC} is not installed")
needs_qemu = pytest.mark.skipif(on_qemu.find_qemu() is None, reason="qemu-system-arm is not installed")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SPEC = ImageSpec(6, 6, 3, mean=(10.0, 20.0, 30.0), deviation=(100.0, 50.0, 60.0), labels=())
GRAPH = residual(6, 6, 3).with_image(SPEC)
CORE = load("cortex-m4")
PASSED = re.compile(r"passed: \d+ output values agree with the reference's\nclass \d+\n")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(path)
    return path


def emitted(
    folder: Path, layout: str, photo: Path | None, prefix: str = "face", target: str | boards.Board = "nano33ble"
) -> Path:
    rillet.emit(rillet.plan(GRAPH, target=target), folder, prefix=prefix, layout=layout, image=photo)  # type: ignore[arg-type]
    return folder


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    python = f'python() {{ "{sys.executable}" "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", python + text], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def blocks(folder: Path, kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?\n)```$", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [text for said, text in found if said == kind]


TARGETS = ("nano33ble", "stm32f746", "rp2040")

# -- the README, followed ----------------------------------------------------------------------------------------------


@needs_qemu
@pytest.mark.parametrize(
    ("target", "which"),
    [
        *(pytest.param(target, 0, marks=needs_gcc, id=f"{target}-gcc") for target in TARGETS),
        *(pytest.param(target, 2, marks=pytest.mark.slow, id=f"{target}-zig") for target in TARGETS),
    ],
)
def test_a_new_user_builds_runs_and_sees_what_the_page_says(
    target: str, which: int, photo: Path, tmp_path: Path
) -> None:
    emitted(tmp_path, "c", photo, target=target)
    commands = blocks(tmp_path, "sh")
    if which == 2:
        pytest.importorskip("ziglang")
    built = shell(commands[which], tmp_path)
    assert built.returncode == 0, built.stderr
    ran = shell(commands[1], tmp_path)
    assert ran.returncode == 0 and PASSED.fullmatch(ran.stdout + ran.stderr)
    assert blocks(tmp_path, "")[0] == ran.stdout + ran.stderr


@needs_qemu
@needs_gcc
@pytest.mark.parametrize("broken", [False, True])
def test_a_program_that_is_wrong_says_so(broken: bool, photo: Path, tmp_path: Path) -> None:
    emitted(tmp_path, "c", photo)
    if broken:
        text = (tmp_path / "face_image.c").read_text()
        changed = re.sub(
            r"(face_expected\[\d+\] = \{\n)(-?\d+)", lambda m: m[1] + str((int(m[2]) + 129) % 256 - 128), text
        )
        assert changed != text
        (tmp_path / "face_image.c").write_text(changed)
    build, run = blocks(tmp_path, "sh")[:2]
    assert shell(build, tmp_path).returncode == 0
    ran = shell(run, tmp_path)
    said = ran.stdout + ran.stderr
    assert ran.returncode == broken
    assert said.startswith("failed: 1 of" if broken else "passed: ")


@needs_gcc
@needs_qemu
def test_cmake_builds_with_the_cross_compiler(photo: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    emitted(tmp_path, "cmake", photo)
    build, run = blocks(tmp_path, "sh")
    built = shell(build, tmp_path)
    assert built.returncode == 0, built.stderr + built.stdout
    ran = shell(run, tmp_path)
    assert ran.returncode == 0 and blocks(tmp_path, "")[0] == ran.stdout + ran.stderr


def test_a_program_of_this_machine_checks_itself_too(photo: Path, tmp_path: Path) -> None:
    made = rillet.emit(rillet.plan(GRAPH), tmp_path, image=photo)
    ran = shell(made.run, tmp_path)
    assert ran.returncode == 0 and PASSED.fullmatch(ran.stdout)
    assert ran.stdout in (tmp_path / "README.md").read_text()


def test_cmake_builds_for_this_machine(photo: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    rillet.emit(rillet.plan(GRAPH), tmp_path, layout="cmake", image=photo)
    built = shell(blocks(tmp_path, "sh")[1], tmp_path)
    assert built.returncode == 0, built.stderr + built.stdout
    ran = shell("build/net_main", tmp_path)
    assert ran.returncode == 0 and PASSED.fullmatch(ran.stdout)


def test_float_outputs_agree_within_their_rounding(photo: Path, tmp_path: Path) -> None:
    net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")
    made = rillet.emit(rillet.plan(net), tmp_path, image=photo)
    ran = shell(made.run, tmp_path)
    assert ran.returncode == 0 and PASSED.fullmatch(ran.stdout)


# -- layouts -----------------------------------------------------------------------------------------------------------

STUBS = {
    "Arduino.h": """#include <stdio.h>
struct Port { void begin(long) {} operator bool() { return true; } void print(const char *t) { fputs(t, stdout); }
  void print(unsigned long) {} void println(const char *t) { puts(t); } };
static Port Serial;
static inline unsigned long millis() { return 0; }
static inline unsigned long micros() { return 0; }
""",
    "zephyr/kernel.h": "#include <stdint.h>\nstatic inline int64_t k_uptime_get(void) { return 0; }\n",
    "zephyr/sys/printk.h": "#include <stdio.h>\n#define printk printf\n",
    "driver.cpp": "#include MAIN\nint main() { setup(); loop(); }\n",
}


def stubs(folder: Path) -> Path:
    for name, text in STUBS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("layout", ["arduino", "platformio", "zephyr", "cmsis-pack"])
def test_layouts_of_other_tools_build_against_stubs_and_pass(layout: str, photo: Path, tmp_path: Path) -> None:
    """Portable kernels, so that the program runs on this machine."""
    board = "esp32s3" if layout != "cmsis-pack" else replace(boards.load("nano33ble"), kernels="portable")
    folder, beside = emitted(tmp_path / "out", layout, photo, target=board), stubs(tmp_path / "stubs")
    source = folder / ("lib/face/src" if layout == "platformio" else "src")
    mains = {
        "arduino": folder / "examples/check/check.ino",
        "platformio": folder / "src/main.cpp",
        "zephyr": folder / "app/src/main.c",
        "cmsis-pack": folder / "main.c",
    }
    include, objects = [f"-I{source}", f"-I{beside}"], list[str]()
    for file in sorted(source.rglob("*.c")):
        objects.append(str(tmp_path / f"{file.stem}.o"))
        subprocess.run(["gcc", *STRICT, *include, "-c", "-o", objects[-1], str(file)], check=True)
    if mains[layout].suffix == ".c":
        last = ["gcc", *STRICT, *include, str(mains[layout])]
    else:
        last = ["g++", "-Wall", "-Werror", *include, f'-DMAIN="{mains[layout]}"', str(beside / "driver.cpp")]
    subprocess.run([*last, *objects, "-o", str(tmp_path / "run")], check=True)
    ran = subprocess.run([str(tmp_path / "run")], capture_output=True, text=True, check=True)
    assert PASSED.match(ran.stdout)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_names_all_that_is_compiled(layout: str, tmp_path: Path, photo: Path) -> None:
    """The assembly too; names that a layout says are files of the folder."""
    folder = emitted(tmp_path, layout, photo)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    compiled = {name for name in files if name.endswith(("face.c", "face_weights.c", "face_image.c", ".S"))}
    assert len(compiled) == 4 and "README.md" in files
    text = {name: (folder / name).read_text() for name in files}
    assert not any(re.search(r"@[A-Z_]+@", content) for content in text.values())
    match layout:
        case "c":
            assert all(name in text["README.md"] for name in compiled)
        case "cmake":
            assert all(
                name in text["CMakeLists.txt"].split() or f"{name})" in text["CMakeLists.txt"] for name in compiled
            )
        case "arduino":
            said = dict(line.split("=", 1) for line in text["library.properties"].splitlines())
            assert (
                said["includes"] == "face.h" and said["name"] == "face" and all(n.startswith("src/") for n in compiled)
            )
        case "platformio":
            assert (
                json.loads(text["lib/face/library.json"])["name"] == "face"
                and "board = nano33ble" in text["platformio.ini"]
            )
        case "zephyr":
            assert set(re.findall(r"\.\./(src/\S+)", text["zephyr/CMakeLists.txt"])) == compiled
            assert "config RILLET_FACE" in text["zephyr/Kconfig"] and "CONFIG_RILLET_FACE=y" in text["app/prj.conf"]
        case _:
            pack = ElementTree.fromstring(text["Rillet.face.pdsc"])
            named = {file.attrib["name"]: file.attrib["category"] for file in pack.iter("file")}
            assert compiled <= named.keys() and {name for name in named if not name.endswith("/")} <= files
            assert {named[name] for name in compiled if name.endswith(".S")} == {"sourceAsm"}


# -- strict compilers, without a C library -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["nano33ble", "m0plus_16k"])
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_programs_are_freestanding_and_clean(compiler: str, target: str, photo: Path, tmp_path: Path) -> None:
    folder = emitted(tmp_path, "c", photo, target=target)
    core = rillet.plan(GRAPH, target=target).board.cortex  # type: ignore[union-attr]
    assert core is not None
    if compiler == "gcc":
        if shutil.which(firmware.GCC) is None:
            pytest.skip("no gcc")
        build = [firmware.GCC, *core.gcc, "-nostdinc"]
        # What every compiler has without a C library: stdint.h and stddef.h.
        own = subprocess.run([firmware.GCC, "-print-file-name=include"], capture_output=True, text=True, check=True)
        build += ["-ffreestanding", "-isystem", own.stdout.strip()]
    else:
        pytest.importorskip("ziglang")
        abi = "eabihf" if core.fpu else "eabi"
        build = [sys.executable, "-m", "ziglang", "cc", "-target", f"thumb-freestanding-{abi}", f"-mcpu={core.zig}"]
    sources = [str(path.relative_to(folder)) for path in folder.rglob("*.c")]
    sources += [str(path.relative_to(folder)) for path in folder.rglob("*.S")]
    strict = [*STRICT, "-Ifreestanding", "-DFACE_SEMIHOSTING", "-c"]
    for source in sources:
        done = subprocess.run([*build, *strict, source], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "math.h" not in "".join(path.read_text() for path in folder.rglob("*.[ch]"))


@needs_gcc
def test_sections_and_sizes_are_as_said(photo: Path, tmp_path: Path) -> None:
    folder = emitted(tmp_path, "c", photo)
    places = ['-DFACE_WEIGHTS_SECTION=".xip"', '-DFACE_ARENA_SECTION=".dtcm"', "-DFACE_STATIC_ARENA"]
    build = [firmware.GCC, *CORE.gcc, *STRICT, *places, "-I.", "-c", "face.c", "face_weights.c"]
    subprocess.run(build, cwd=folder, check=True)
    size = subprocess.run(
        ["arm-none-eabi-size", "-A", "face.o", "face_weights.o"], cwd=folder, capture_output=True, text=True, check=True
    )
    found = {
        line.split()[0]: int(line.split()[1]) for line in size.stdout.splitlines() if line.startswith((".xip", ".dtcm"))
    }
    plan = rillet.plan(GRAPH, target="nano33ble")
    page = (folder / "README.md").read_text()
    said = {
        key: int(value.replace(",", "")) for key, value in re.findall(r"\| (?:RAM|flash): (\w+)[^|]*\| ([\d,]+) ", page)
    }
    assert found[".dtcm"] == plan.arena_bytes == said["activations"]
    assert 0 <= found[".xip"] - said["weights"] < 64  # alignment
    (folder / "size.c").write_text(
        f'#include "face.h"\n_Static_assert(sizeof(face_context) == {said["context"]}, "");\n'
    )
    subprocess.run([firmware.GCC, *CORE.gcc, "-c", "size.c"], cwd=folder, check=True)
    assert said["context"] == context_bytes(plan)


def test_an_arena_that_is_not_aligned_is_told(tmp_path: Path) -> None:
    rillet.emit(rillet.plan(GRAPH), tmp_path)
    sources = ["net.c", "net_weights.c"]
    subprocess.run(["gcc", *STRICT, "-shared", "-fPIC", "-o", "net.so", *sources], cwd=tmp_path, check=True)
    loaded = ctypes.CDLL(str(tmp_path / "net.so"))
    read = lambda name: ctypes.c_int32.in_dll(loaded, name).value  # noqa: E731
    context = ctypes.create_string_buffer(read("net_context_bytes"))
    arena = (ctypes.c_uint64 * (read("net_arena_bytes") // 8 + 2))()
    at = ctypes.addressof(arena)
    loaded.net_init.restype = ctypes.c_int32
    told = [loaded.net_init(context, ctypes.c_void_p(at + more)) for more in range(5)]
    assert told == [0, 1, 1, 1, 0]
    assert loaded.net_init(context, None) == 1


@pytest.mark.parametrize("core", [[], ["-D__ARM_FEATURE_UNALIGNED"]], ids=["aligned", "anywhere"])
def test_word_wise_memory_functions_do_as_those_of_c(core: list[str], tmp_path: Path) -> None:
    text = (Path(rillet.__file__).parent / "backends/c/project/templates/freestanding/memory.c").read_text()
    text = text.replace("*memcpy(", "*own_memcpy(").replace("*memset(", "*own_memset(")
    (tmp_path / "memory.c").write_text(text)
    subprocess.run(["gcc", *STRICT, *core, "-shared", "-fPIC", "-o", "memory.so", "memory.c"], cwd=tmp_path, check=True)
    own = ctypes.CDLL(str(tmp_path / "memory.so"))
    own.own_memcpy.restype = own.own_memset.restype = ctypes.c_void_p
    source = bytes(range(1, 65))
    for to in range(5):
        for start in range(5):
            for count in (0, 1, 3, 4, 5, 8, 16, 23, 45):
                made, given = ctypes.create_string_buffer(b"\xee" * 64, 64), ctypes.create_string_buffer(source, 64)
                own.own_memcpy(ctypes.byref(made, to), ctypes.byref(given, start), ctypes.c_size_t(count))
                assert made.raw == b"\xee" * to + source[start : start + count] + b"\xee" * (64 - to - count)
                own.own_memset(ctypes.byref(made, to), 0x1A5, ctypes.c_size_t(count))
                assert made.raw == b"\xee" * to + b"\xa5" * count + b"\xee" * (64 - to - count)


# -- pixels ------------------------------------------------------------------------------------------------------------

ROWS = """#include <stdio.h>
#include "net.h"
int main(void)
{
  static uint8_t bytes[3 * NET_INPUT_WIDTH];
  static uint16_t words[NET_INPUT_WIDTH];
  static net_input_t row[NET_INPUT_WIDTH * NET_INPUT_CHANNELS];
  int32_t base = 0;
  for (base = 0; base < 65536; base += NET_INPUT_WIDTH) {
    for (int32_t x = 0; x < NET_INPUT_WIDTH; x++) words[x] = (uint16_t)(base + x);
    net_row_rgb565(words, row);
    fwrite(row, sizeof row, 1, stdout);
  }
  while (fread(bytes, sizeof bytes, 1, stdin)) {
    net_row_rgb888(bytes, row);
    fwrite(row, sizeof row, 1, stdout);
    net_row_grey(bytes, row);
    fwrite(row, sizeof row, 1, stdout);
  }
  return 0;
}
"""
WIDTH = 256


def taking(kind: str) -> Graph:
    """A network with an input of 2 x 256 pixels, and a contract."""
    channels = 1 if kind == "grey" else 3
    net = residual(2, WIDTH, channels)
    spec = ImageSpec(2, WIDTH, channels, mean=(120.0,), deviation=(40.0,))
    return net.with_image(SPEC_BY_KIND.get(kind, spec) if kind != "grey" else spec)


SPEC_BY_KIND = {
    "channels": ImageSpec(2, WIDTH, 3, mean=(10.0, 128.0, 100.0), deviation=(100.0, -50.0, 3.0)),
    "together": ImageSpec(2, WIDTH, 3, mean=(120.0,), deviation=(33.0,)),
}


@pytest.mark.parametrize("kind", ["channels", "together", "grey"])
def test_rows_of_pixels_are_what_rillet_makes_of_a_picture(kind: str, tmp_path: Path) -> None:
    """All 65,536 pixels of 16 bits, and all levels of bytes, as Pillow and the input contract have them."""
    net = taking(kind)
    spec, stored = net.image, net.input_nodes[0].type
    assert spec is not None
    for name, text in {**emit(plan_rows(net)), "rows.c": ROWS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    sources = ["rows.c", "net.c", "net_weights.c"]
    subprocess.run(["gcc", *STRICT, "-o", "rows", *sources], cwd=tmp_path, check=True)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (4, WIDTH, 3)).astype(np.uint8)
    pixels[0] = np.arange(WIDTH)[:, None]
    done = subprocess.run(["./rows"], cwd=tmp_path, input=pixels.tobytes(), capture_output=True, check=True)
    mode = "L" if spec.channels == 1 else "RGB"

    def expected(picture: Image.Image) -> bytes:
        taken = np.asarray(picture.convert(mode), np.uint8).reshape(-1, WIDTH, spec.channels)
        return from_pixels(taken, spec, stored).tobytes()

    every = np.arange(65536, dtype="<u2").tobytes()
    want = expected(Image.frombytes("RGB", (WIDTH, 256), every, "raw", "BGR;16"))
    for row in pixels:
        want += expected(Image.fromarray(row[None])) + expected(Image.fromarray(row.reshape(1, -1)[:, :WIDTH]))
    assert done.stdout == want
    assert len(pixel_values(spec, stored)) == (3 if kind == "channels" else 1)


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_is_told_in_a_sentence(tmp_path: Path, photo: Path) -> None:
    plan = rillet.plan(GRAPH, target="nano33ble")
    with pytest.raises(GraphError, match="layout must be one of c, cmake, arduino, .*, got 'make'"):
        rillet.emit(plan, tmp_path / "out", layout="make")  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="prefix must be a C identifier of at most 20 characters, got '3d'"):
        rillet.emit(plan, tmp_path / "out", prefix="3d")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(GraphError, match="text.png: must be an image file"):
        rillet.emit(plan, tmp_path / "out", image=tmp_path / "text.png")
    with pytest.raises(Unsupported, match="input must be an image of 1 or 3 channels"):
        rillet.emit(rillet.plan(residual(6, 6, 5)), tmp_path / "out", image=photo)
    with pytest.raises(Unsupported, match="--layout must be one of c, cmake for portable, got 'zephyr'"):
        rillet.emit(rillet.plan(GRAPH, target="portable"), tmp_path / "out", layout="zephyr")
    with pytest.raises(Unsupported, match="--layout cmsis-pack must be for a Cortex-M core, got Xtensa LX7 of Espr"):
        rillet.emit(rillet.plan(GRAPH, target="esp32s3"), tmp_path / "out", layout="cmsis-pack")
    assert not (tmp_path / "out").exists()
    done = command("emit", "mobilenet_v1:seed=0", "-o", str(tmp_path / "out"), "--layout", "make")
    assert done.returncode == 1 and done.stderr.startswith("rillet: layout must be one of c, cmake, arduino,")


def test_memory_of_the_machines_is_that_of_the_emulator() -> None:
    for machine, memory in MEMORY.items():
        theirs = firmware.MEMORY[machine]
        assert memory.code == theirs.code and memory.constants[0] == theirs.constants[0]
        assert memory.ram == (theirs.ram[0], theirs.ram[1] + firmware.STACK_BYTES)
