"""What is read: regular files alone, within bounds, by every reader and in every command; refused soon, by name."""

import ast
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from rillet.cli import main
from rillet.data import datasets
from rillet.data.images import load_array, load_pixels
from rillet.errors import GraphError, RilletError, TargetError
from rillet.exporters import rlt as rlt_writer
from rillet.importers import checkpoints, rlt, tflite
from rillet.importers.checkpoints.batches import read_batch
from rillet.ir.graph import ImageSpec
from rillet.models import opening as models
from rillet.models.specifier import Preprocessing
from rillet.runtime import identity
from rillet.system import reading
from rillet.system.download import checksum
from rillet.targets import boards
from rillet.targets.catalogue import load as load_machine
from rillet.targets.reading import table
from test_plan import residual

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
SPEC, GRAPH = ImageSpec(4, 4, 3), residual(6, 6, 3).with_image(ImageSpec(6, 6, 3))


def _onnx(path: Path) -> object:
    pytest.importorskip("onnx")
    from rillet.importers.onnx import load

    return load(path)


def _recipe(path: Path) -> object:
    from rillet.train import recipe

    return recipe.find(str(path))


def _resumed(path: Path) -> object:
    pytest.importorskip("torch")
    from rillet.train import checkpoint

    path.rename(path.with_name(checkpoint.CHECKPOINT))
    return checkpoint.load(path.parent)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tflite": ("a.tflite", tflite.load),
    "onnx": ("a.onnx", _onnx),
    "rlt": ("a.rlt", rlt.load),
    "checkpoint": ("a.pth", checkpoints.read),
    "labels": ("a.txt", models.read_labels),
    "picture": ("a.png", lambda path: load_pixels(path, SPEC)),
    "array": ("a.npy", lambda path: load_array(path, GRAPH)),
    "raw array": ("a.raw", lambda path: load_array(path, GRAPH)),
    "batch": ("test_batch", lambda path: read_batch(path, "labels")),
    "sheet": ("test_batch.png", lambda path: datasets._sheet(path)),
    "sheet labels": ("a.json", lambda path: datasets._json_labels(path, 1)),
    "list": ("wnids.txt", lambda path: datasets._lines(path)),
    "machine": ("a.toml", lambda path: load_machine(str(path))),
    "board": ("a.toml", lambda path: boards.load(str(path))),
    "recipe": ("a.toml", _recipe),
    "resumed": ("a.pt", _resumed),
    "sum": ("a.bin", checksum),
}


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """A reader that waits or does not end is ended."""
    signal.alarm(100)
    yield
    signal.alarm(0)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "a folder"),
    "FIFO": (os.mkfifo, "a FIFO"),
    "socket": (_socket, "a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "nothing": (Path.name.fget or str, "no file"),
}


@pytest.mark.parametrize("reader", READERS)
def test_special_files_are_refused_by_name(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    for kind, (make, got) in SPECIAL.items():
        (tmp_path / kind).mkdir()
        path = tmp_path / kind / name
        make(path)
        if (reader, kind) == ("resumed", "nothing"):
            continue  # no checkpoint is no error
        with pytest.raises((GraphError, TargetError), match=f"^{path.parent}/.*: must be an? .*, got {got}$"):
            read(path)


@pytest.mark.parametrize("reader", READERS)
def test_files_beyond_the_bound_are_not_read(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(reading.MODEL_BYTES + 1)
    with pytest.raises(RilletError, match=r"must be at most \d+ bytes, got 2147483649"):
        read(path)


def test_a_refusal_takes_little(tmp_path: Path) -> None:
    """Files as large as may be, of zeros: each format says so by their beginning or end."""
    program = f"""
import sys
sys.path[:0] = {[str(ROOT / "tests")]!r}
from pathlib import Path
from memory import peak_bytes
from test_reading import READERS, RilletError
folder = Path({str(tmp_path)!r})
for reader in ("rlt", "onnx", "checkpoint", "tflite"):
    name, read = READERS[reader]
    for begin, size in ((b"", 2**28 if reader == "tflite" else 2**30), (b"PK\\3\\4", 2**30)):
        with (folder / name).open("wb") as file:
            file.write(begin)
            file.truncate(size)
        try:
            read(folder / name)
        except RilletError as error:
            continue
        raise SystemExit(f"{{reader}} was read")
print(peak_bytes())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1e9


LARGE = 2**28
"""Within the bound of every format."""
CLAIMS = {
    "tflite": (
        [bytes(16), (LARGE + 8).to_bytes(4, "little") + b"TFL3" + bytes(8), bytes(4) + b"TFL3" + bytes(8)],
        "must be a TFLite file|root table must lie within",
    ),
    "onnx": (
        [bytes(16), b"\x08\x08\x3a" + b"\xff\xff\xff\xff\x01", b"\x3a\x80\x80\x80\x80\x02"],
        "must be an ONNX file|must end within its file",
    ),
    "checkpoint": (
        [
            bytes(16),
            (LARGE * 4).to_bytes(8, "little") + b"{",
            b"\x89HDF\r\n\x1a\n" + b"\5" + bytes(90),
            b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(41) + b"\xff" * 8 + b"\xff" * 16,
            b"PK\3\4",
        ],
        "must be a checkpoint|header must have|as Keras writes it|root group must lie|well-formed zip",
    ),
    "rlt": ([bytes(16)], "must be a .rlt file|must be"),
}


@pytest.mark.parametrize("reader", sorted(CLAIMS))
def test_what_a_large_file_claims_is_looked_at_before_it_is_read(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sparse files with the beginning of their format and sizes beyond their end: nothing else of them is read."""
    name, read = READERS[reader]
    beginnings, message = CLAIMS[reader]
    taken: list[int] = []

    class Counting(io.FileIO):
        def readinto(self, buffer: Any, /) -> int:
            taken.append(got := super().readinto(buffer) or 0)
            return got

        def read(self, size: int = -1, /) -> bytes:
            taken.append(len(found := super().read(size) or b""))
            return found

    monkeypatch.setattr(reading.os, "fdopen", lambda descriptor, _: io.BufferedReader(Counting(descriptor)))
    for begin in beginnings:
        taken.clear()
        with (tmp_path / name).open("wb") as file:
            file.write(begin)
            file.truncate(LARGE)
        with pytest.raises(RilletError, match=message):
            read(tmp_path / name)
        assert sum(taken) < 2**19 and (taken or reader == "rlt"), begin


def test_a_file_that_tells_no_size_or_grows(tmp_path: Path) -> None:
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("this system has no /proc")
    assert path.stat().st_size == 0
    assert len(reading.read_bytes(path, 2**20)) > 1000
    with pytest.raises(GraphError, match="must be at most 100 bytes, got more"):
        reading.read_bytes(path, 100)
    for name in ("a\0b", "\ud800", "x" * 5000):
        with pytest.raises(GraphError, match=r"must be a file, got no|cannot be read: File name too long"):
            reading.read_bytes(tmp_path / name, 100)


def test_links_are_followed_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert reading.read_text(tmp_path / "link", 4) == "text"
    with pytest.raises(GraphError, match="link: must be a file, got a link"):
        reading.open_file(tmp_path / "link", 4, follow=False)


COMMANDS = (
    ("count", "SPECIAL.tflite"),
    ("verify", "SPECIAL.onnx"),
    ("show", "SPECIAL.rlt"),
    ("run", "NET", "SPECIAL.png"),
    ("run", "NET", "SPECIAL.npy", "--raw"),
    ("run", "SPECIAL.rlt", "SPECIAL.png"),
    ("run", "NET", "PHOTO", "--labels", "SPECIAL.txt"),
    ("run", "microbotnet", "PHOTO", "--weights", "SPECIAL.pth"),
    ("count", "microbotnet", "--weights", "SPECIAL.h5"),
    ("plan", "microbotnet", "--target", "SPECIAL.toml"),
    ("fit", "microbotnet", "--target", "SPECIAL.toml"),
    ("energy", "microbotnet", "--node", "SPECIAL.toml"),
    ("cost", "microbotnet", "--target", "SPECIAL.toml"),
    ("train", "microbotnet", "--data", "cifar10:DATA", "--recipe", "SPECIAL.toml", "--out", "OUT"),
    ("evaluate", "microbotnet:seed=0", "--data", "cifar10:DATA"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3:2]))
def test_every_command(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.rlt").write_bytes(rlt_writer.to_bytes(GRAPH))
    Image.new("RGB", (6, 6)).save(tmp_path / "photo.png")
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "test_batch.png")
    os.mkfifo(tmp_path / "data" / "data_batch_1.png")
    os.mkfifo(tmp_path / "net_labels.txt")  # is looked for, and is none
    places = {"NET": "net.rlt", "PHOTO": "photo.png", "OUT": "out", "DATA": "data"}
    line: list[str] = []
    for word in words:
        kind, colon, place = word.rpartition(":")
        word = f"{kind}{colon}{tmp_path / places[place]}" if place in places else word
        if word.startswith("SPECIAL"):
            path = tmp_path / word
            if not path.exists():
                os.mkfifo(path)
            word = str(path)
        line.append(word)
    monkeypatch.setattr(sys, "argv", ["rillet", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1, said
    assert said.startswith(f"rillet: {tmp_path}/") and said.endswith(", got a FIFO\n"), said


def test_labels_are_looked_for_among_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a_labels.txt")
    (tmp_path / "b_labels.txt").mkdir()
    (tmp_path / "c_labels.txt").symlink_to("/dev/zero")
    with (tmp_path / "d_labels.txt").open("wb") as file:
        file.truncate(2**31)
    (tmp_path / "e_labels.txt").write_text("one\ntwo\n")
    path = tmp_path / "net.rlt"
    path.write_bytes(rlt_writer.to_bytes(GRAPH))
    assert models._labels_beside(path, 2) == ("one", "two")
    (tmp_path / "d_labels.txt").unlink()
    assert identity.identity(str(path), Preprocessing(), None) is not None


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_no_other_program_decodes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/mark\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    eps = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.eps", "a.png"):
        (tmp_path / name).write_text(eps)
        with pytest.raises(GraphError, match="got: unknown image format"):
            load_pixels(tmp_path / name, SPEC)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".ppm", ".tif", ".webp"])
def test_pictures_of_these_kinds(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (8, 8), (200, 200, 200)).save(tmp_path / f"a{suffix}")
    assert np.abs(load_pixels(tmp_path / f"a{suffix}", SPEC).astype(int) - 200).max() < 4


def test_transparent_parts_by_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (600, 3, 4), np.uint8))
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    picture.save(tmp_path / "a.png")
    found = load_pixels(tmp_path / "a.png", ImageSpec(600, 3, 3))
    assert np.array_equal(found, np.asarray(Image.alpha_composite(white, picture).convert("RGB")))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "I;16", "P"])
def test_the_largest_picture_takes_less_than_a_gigabyte(tmp_path: Path, mode: str) -> None:
    program = f"""
import sys
sys.path[:0] = {[str(ROOT / "tests")]!r}
from pathlib import Path
from memory import peak_bytes
from rillet.ir.graph import ImageSpec
from rillet.data.images import load_pixels
load_pixels(Path({str(tmp_path / "a.png")!r}), ImageSpec(224, 224, 3))
print(peak_bytes())
"""
    Image.new(mode, (8192, 8192)).save(tmp_path / "a.png", compress_level=1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert int(done.stdout) < 1e9


# -- TOML --------------------------------------------------------------------------------------------------------------

NUMBERS = ("9" * 400, "-" + "9" * 400, "9" * 5000, "0x" + "f" * 400, "0x" + "f" * 100_000, "0b1" + "0" * 64)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:3]}{len(number)}")
def test_integers_that_are_too_long(number: str) -> None:
    """TOML 1.0: integers of 64 bits; what cannot be handled losslessly is an error."""
    for text in (f"value = {number}", f"[clock_hz]\nvalue = {number}", f"a = [1, {{b = {number}}}]", f"a.b = {number}"):
        with pytest.raises(TargetError, match="^x.toml: .*(at most 64 bits, got one of|must be TOML)") as raised:
            table("x.toml", text)
        assert len(str(raised.value)) < 300
    assert table("x", f"a = {2**63 - 1}\nb = {-(2**63)}") == {"a": 2**63 - 1, "b": -(2**63)}


@pytest.mark.parametrize(
    "text", [f"{'a.' * 50_000}a = 1", f"[{'a.' * 50_000}a]", "a = " + "[" * 50 + "]" * 50, "a" * 10**6]
)
def test_tables_that_are_too_deep(text: str) -> None:
    with pytest.raises(
        TargetError, match="^x.toml: must (have at most 8 tables|have keys of at most 64|be TOML)"
    ) as raised:
        table("x.toml", text)
    assert len(str(raised.value)) < 300


def test_long_values_are_shown_in_part(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'name = "{"x" * 500_000}"\n"{"k" * 500_000}" = 1\n')
    for load in (load_machine, boards.load):
        with pytest.raises(TargetError) as raised:
            load(str(path))
        assert len(str(raised.value)) < 600


# -- memory ------------------------------------------------------------------------------------------------------------


def _big_files(folder: Path, width: float) -> Iterator[Path]:
    """A network with a large last layer, in every form in which weights are read."""
    torch = pytest.importorskip("torch")
    from rillet.exporters import onnx, safetensors
    from rillet.exporters import tflite as tflite_writer
    from rillet.transforms.fold import fold

    graph = models.open_model(f"mobilenet_v2:width={width},seed=0,classes=8000").graph
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in graph.params.items()}
    for name, data in {
        "a.rlt": rlt_writer.to_bytes(graph),
        "a.onnx": onnx.export(graph),
        "a.tflite": tflite_writer.export(fold(graph)),
        "a.safetensors": safetensors.to_bytes(graph),
    }.items():
        (folder / name).write_bytes(data)
        yield folder / name
    for name, zipped in (("a.pth", True), ("b.pth", False)):
        torch.save(arrays, folder / name, _use_new_zipfile_serialization=zipped)
        yield folder / name


@pytest.mark.slow
def test_a_valid_file_takes_at_most_three_times_its_size(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = {[str(ROOT / "tests")]!r}
from pathlib import Path
from memory import peak_bytes
import rillet.importers.onnx
from test_reading import READERS
path = Path(sys.argv[1])
before = peak_bytes()
(READERS.get(path.suffix[1:]) or READERS["checkpoint"])[1](path)
print((peak_bytes() - before) / path.stat().st_size)
"""
    for path in _big_files(tmp_path, 1.4):
        command = [sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
        assert float(done.stdout) < 3, path.name


# -- the law -----------------------------------------------------------------------------------------------------------

OPENS = {"open", "read_bytes", "read_text", "fdopen", "open_memmap", "memmap", "fromfile", "loadtxt", "genfromtxt"}
"""What opens a file, as a function or as a method."""
LOADS = {("np", "load"), ("numpy", "load"), ("h5py", "File"), ("os", "open"), ("io", "open"), ("tarfile", "open")}
KNOWN = {
    "backends/c/emit.py": "kernels, out of Rillet's own package",
    "backends/c/project/layouts.py": "templates, out of Rillet's own package",
    "backends/rtl/project/write.py": "templates, out of Rillet's own package",
    "search/worker.py": "its own standard output",
    "web/__init__.py": "pages, out of Rillet's own package",
    "runtime/wasm/building.py": "C, out of Rillet's own package",
    "runtime/rtl/cxxrtl.py": "C++ that yosys wrote into our own folder",
    "runtime/rtl/simulator.py": "C++, out of Rillet's own package",
    "backends/rtl/emit.py": "modules, out of Rillet's own package",
    "cli/ending.py": "the null device, to write to",
    "data/archives.py": "data sets with a known checksum",
    "bench/rounds.py": "answers that our own process wrote into our own folder",
    "bench/ceiling.py": "C, out of Rillet's own package",
    "models/hub.py": "the registry, out of Rillet's own package",
    "targets/pipeline.py": "its table, out of Rillet's own package",
    "data/images.py": "np.load and Image.open of what the door has opened",
    "bench/machine.py": "the kernel's own files, by fixed names",
    "runtime/oracles.py": "the null device, to write to",
    "runtime/emulator/firmware.py": "C, out of Rillet's own package",
    "runtime/emulator/on_qemu.py": "images and answers in our own folder, for the emulator that we start",
    "runtime/rtl/harness.py": "images and a job in our own folder, for the simulation that we start",
    "runtime/rtl/verilator.py": "C++ that Verilator wrote into our own folder, and its own",
    "bench/peers/worker.py": "images that our own process wrote, and the kernel's own files",
    "simulation/pipeline.py": "C, out of Rillet's own package",
    "targets/host.py": "the kernel's own files, by fixed names",
    "targets/reading.py": "TOML out of Rillet's own package; other files by the door",
    "train/checkpoint.py": "the lock of a run's folder: never read",
    "train/pictures.py": "slots in our own cache, written and read by place",
    "zoo/published.py": "tables, out of Rillet's own package",
}
"""Modules that open files by themselves, and why they may."""


def opens(tree: ast.AST) -> bool:
    """Whether a module opens a file by itself."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in OPENS - {"read_bytes", "read_text"}:
                return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if (owner, name) in LOADS:
                return True
            case ast.Call(func=ast.Attribute(attr=name)) if name in OPENS:
                return True
            case _:
                pass
    return False


def test_files_are_opened_by_one_door() -> None:
    source = ROOT / "src" / "rillet"
    found = {
        str(file.relative_to(source))
        for file in source.rglob("*.py")
        if "system" not in file.relative_to(source).parts[:1] and opens(ast.parse(file.read_text()))
    }
    assert found - KNOWN.keys() == set()
    assert KNOWN.keys() - found == set()


def test_the_law_sees_every_way() -> None:
    ways = ("path.open()", "open(path)", "Path(x).read_bytes()", "x.read_text()", "np.load(x)", "os.open(x, 0)")
    assert all(opens(ast.parse(way)) for way in ways)
    assert not opens(ast.parse("read_bytes(path, 3); zipped.read(); load(path)"))
