"""Runs a command in forks of one process, and kills it before one of its file operations, or fails that: old or new.

File operations are what Python tells its audit hooks (open, rename, mkdir, remove, link, chmod, ...) and os.write,
os.pwrite and os.fsync, all of them within FOLDER. Of a write, half is done. There are three faults: `kill` is SIGKILL
before the operation, `fail` fails this one with ENOSPC, `full` fails this one and all later ones that take room.

usage: faults.py CASE|all FOLDER MOST_POINTS; exits with 1, telling the first point, where a fault shows. `all` are
those that write as they should and need no PyTorch.
"""

import csv
import errno
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from rillet.errors import BuildError, RilletError

FAULTS = ("kill", "fail", "full")
TAKE_ROOM = ("write", "pwrite", "fsync", "open", "os.mkdir", "os.link", "os.symlink", "os.rename", "os.truncate")
TOLD = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
State = dict[str, bytes]


@dataclass(frozen=True)
class Case:
    """A writing command: what it says, the state before, and what of a state must be old or new."""

    words: list[str]
    begin: Callable[[Path], None]
    state: Callable[[Path], object]
    whole: Callable[[Path], None] | None = None
    """What a state between must be, where a command goes on from what is there; else each is old or new."""


def tree(folder: Path) -> State:
    """All files of a folder, but for what is made beside."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
    return {
        path.relative_to(folder).as_posix(): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
        if not any(part.startswith(".rillet-") for part in path.relative_to(folder).parts)
    }


def opened(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".rillet-") or ".before-" in path.name]


class Fault:
    """Counts file operations in this process, and does what is said at one of them."""

    def __init__(self, root: Path, kind: str, at: int) -> None:
        self.root, self.kind, self.at, self.seen, self.inside = str(root), kind, at, 0, False
        self.struck = ""
        self.real: dict[str, Any] = {name: getattr(os, name) for name in ("write", "pwrite", "fsync")}
        os.write = lambda fd, data: self.half("write", fd, data)  # pyright: ignore[reportAttributeAccessIssue]
        os.pwrite = lambda fd, data, at: self.half("pwrite", fd, data, at)  # pyright: ignore[reportAttributeAccessIssue]
        os.fsync = lambda fd: self.half("fsync", fd)  # pyright: ignore[reportAttributeAccessIssue]
        sys.addaudithook(self.hear)

    def half(self, name: str, descriptor: int, *data: Any) -> Any:
        where = opened(descriptor)
        if self.mine(where) and self.due(name):
            if data:
                self.real[name](descriptor, bytes(data[0])[: len(data[0]) // 2], *data[1:])
            self.strike(f"{name} {where}")
        return self.real[name](descriptor, *data)

    def hear(self, event: str, words: tuple[Any, ...]) -> None:
        if event not in TOLD or self.inside:
            return
        if event == "open" and (isinstance(words[0], int) or not words[2] & WRITING):
            return
        where = opened(words[0]) if isinstance(words[0], int) else os.fsdecode(words[0])
        if (self.mine(where) or not Path(where).is_absolute()) and self.due(event):
            self.strike(f"{event} {where}")

    def mine(self, where: str) -> bool:
        return where.startswith(self.root)

    def due(self, name: str) -> bool:
        self.seen += 1
        return self.seen == self.at or (self.kind == "full" and self.seen > self.at and name in TAKE_ROOM)

    def strike(self, what: str) -> None:
        self.struck = self.struck or what
        if self.kind == "kill":
            self.inside = True
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def command(words: list[str]) -> int:
    """The exit code of a command in this process."""
    from rillet.cli.app import main

    sys.argv = ["rillet", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


@dataclass(frozen=True)
class Ended:
    """How a fork ended: its exit code (negative: the signal), what it said, where the fault struck, operations."""

    code: int
    said: str
    struck: str
    seen: int


def forked(words: list[str], root: Path, kind: str, at: int) -> Ended:
    """Runs a command in a fork of this process, with one fault."""
    said, told = root.parent / "said", root.parent / "told"
    told.write_text("\n0")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            os.chdir(root)
            fault = Fault(root, kind, at)
            try:
                code = command(words)
            except BaseException:
                import traceback

                traceback.print_exc()
            fault.inside, fault.at, fault.kind = True, 0, ""
            sys.stdout.flush()
            sys.stderr.flush()
            told.write_text(f"{fault.struck}\n{fault.seen}")
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    struck, seen = told.read_text().split("\n")
    return Ended(code, said.read_text(errors="replace"), struck, int(seen))


def sweep_through(case: Case, folder: Path, most: int) -> int:
    """Tries all three faults at `most` of a command's operations; the number of points. Asserts what must hold."""
    root, clean = folder / "root", folder / "clean"
    root.mkdir(parents=True)
    case.begin(root)
    shutil.copytree(root, clean, symlinks=True)
    old = case.state(root)
    os.chdir(root)
    with redirect_stdout(io.StringIO()):
        assert command(case.words) == 0  # here, so that all is imported where it forks
    restore(clean, root)
    whole = forked(case.words, root, "none", 0)
    assert whole.code == 0, whole
    new, total = case.state(root), whole.seen
    assert new != old and total > 1, f"must write something, {total} operations"
    points = range(1, total + 1) if most >= total else sorted({1 + i * (total - 1) // (most - 1) for i in range(most)})
    for at in points:
        for kind in FAULTS:
            restore(clean, root)
            ended = forked(case.words, root, kind, at)
            try:
                check(case, root, kind, ended, (old, new))
            except (AssertionError, OSError, RilletError) as error:
                raise SystemExit(f"{kind} at {at} of {total}: {error!r}\n{ended}") from None
    return len(points) * len(FAULTS)


def restore(clean: Path, root: Path) -> None:
    os.chdir("/")
    shutil.rmtree(root)
    shutil.copytree(clean, root, symlinks=True)


def check(case: Case, root: Path, kind: str, ended: Ended, states: tuple[object, object]) -> None:
    old, new = states
    now = case.state(root)
    if case.whole is not None:
        case.whole(root)
    else:
        assert now in (old, new), f"must be old or new, got {differing(now, old)}, {differing(now, new)}"
    if kind == "kill":
        assert ended.code == -signal.SIGKILL, "must be killed"
    else:
        assert ended.struck, "the fault must strike"
        assert ended.code in (0, 1) and "Traceback" not in ended.said, "must end with a sentence"
        if ended.code:
            sentences = [line for line in ended.said.splitlines() if line.startswith("rillet: ")]
            assert sentences and ended.said.rstrip().endswith(sentences[-1]), "must say one sentence"
        else:
            assert now == new, "must be done where nothing is said"
        removing = ended.struck.startswith(("os.remove", "os.rmdir"))
        assert removing or not left_over(root), f"must leave nothing, got {left_over(root)}"
    if now != new or left_over(root):
        again = forked(case.words, root, "none", 0)
        assert again.code == 0, f"must run again, got {again}"
        assert case.state(root) == new and not left_over(root), f"must be new, got {left_over(root)}"


def differing(now: object, then: object) -> object:
    if isinstance(now, dict) and isinstance(then, dict):
        return sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
    return "another state"


# -- cases -------------------------------------------------------------------------------------------------------------


def networks(root: Path) -> None:
    """Two tiny networks whose programs have other kernels, and an older file."""
    from rillet.exporters.rlt import to_bytes
    from rillet.ir.ops import Activation
    from rillet.zoo.layers import Layers, square
    from rillet.zoo.weights import with_seeded_weights

    for name, activation in (("one", Activation.RELU), ("two", Activation.HARD_SWISH)):
        net = Layers(name, square(8))
        net.block = "stem"
        net.conv_bn("conv", 8, 3, 2, activation)
        if name == "two":
            net.depthwise_bn(3, 1, activation)
        net.classifier(3)
        (root / f"{name}.rlt").write_bytes(to_bytes(with_seeded_weights(net.graph(), 0)))


def to_file(words: list[str], name: str) -> Case:
    """A command that writes one file, over an older one."""

    def begin(root: Path) -> None:
        networks(root)
        (root / name).write_bytes(b"old")

    return Case([*words, "-o", name], begin, lambda root: (root / name).read_bytes())


def emit_new() -> Case:
    return Case(["emit", "one.rlt", "-o", "net"], networks, lambda root: tree(root / "net"))


def emit_over() -> Case:
    """Over another program, with a user's own files beside and within."""

    def begin(root: Path) -> None:
        networks(root)
        os.chdir(root)
        with redirect_stdout(io.StringIO()):
            assert command(["emit", "one.rlt", "-o", "net"]) == 0
        for name in ("net/Makefile", "net/kernels/own.h", "net/build/net.o"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("mine")
        (root / "net" / "link").symlink_to("Makefile")

    return Case(["emit", "two.rlt", "-o", "net"], begin, lambda root: tree(root / "net"))


def plainly() -> Case:
    """A writer as there must be none: the sweep must tell."""
    import rillet.system.files as files

    def write(path: Path, data: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.write(descriptor, data)
            os.close(descriptor)
        except OSError as error:
            raise BuildError(f"{path}: {error.strerror}") from None

    files.write_file = write
    return to_file(["draw", "one.rlt"], "out.svg")


def train() -> Case:
    """A run of two epochs, each file of its folder whole at any moment; it goes on to the same networks."""
    import rillet.train.loop as loop
    from rillet.importers.rlt import load
    from rillet.system.checksums import read_record
    from rillet.train import checkpoint
    from rillet.train.recipe import parse
    from train_case import RECIPE

    def begin(root: Path) -> None:
        networks(root)
        draw = np.random.default_rng(0)
        for part, count in (("train", 8), ("test", 2)):
            for i, name in enumerate("abc"):
                (root / "pictures" / part / name).mkdir(parents=True)
                for at in range(count):
                    pixels = draw.integers(0, 100, (8, 8, 3)).astype(np.uint8) + 50 * i
                    Image.fromarray(pixels).save(root / "pictures" / part / name / f"{at}.png")
        said = RECIPE.format(epochs=2, optimizer="sgd", optimizer_keys="momentum = 0.9")
        (root / "recipe.toml").write_text(said)
        os.environ["RILLET_CACHE"] = str(root / "cache")  # pictures are kept there while it runs

    def whole(root: Path) -> None:
        run = root / "run"
        if not run.is_dir():
            return
        if (run / checkpoint.CHECKPOINT).exists():
            found = checkpoint.load(run)
            assert found is not None and found[2]
        for name, opened in (
            *((name, load) for name in (loop.BEST, loop.LAST)),
            (loop.SETTINGS, read_record),
            (loop.RECIPE, lambda path: parse("recipe", path.read_text())),
            (loop.LOG, lambda path: [float(row["judged_loss"]) for row in csv.DictReader(path.open())]),
            ("curve.svg", ElementTree.parse),
        ):
            if (run / name).exists():
                opened(run / name)

    def state(root: Path) -> object:
        files = (root / "run" / name for name in (loop.BEST, loop.LAST))
        return [path.read_bytes() if path.exists() else None for path in files]

    words = ["train", "one.rlt", "--data", "imagefolder:pictures", "--recipe", "recipe.toml", "--out", "run"]
    return Case([*words, "--threads", "1", "--save-steps", "2", "--resume"], begin, state, whole)


CASES: dict[str, Callable[[], Case]] = {
    "rlt": lambda: to_file(["convert", "one.rlt"], "out.rlt"),
    "onnx": lambda: to_file(["convert", "one.rlt"], "out.onnx"),
    "tflite": lambda: to_file(["convert", "one.rlt", "--fold"], "out.tflite"),
    "safetensors": lambda: to_file(["convert", "one.rlt"], "out.safetensors"),
    "draw": lambda: to_file(["draw", "one.rlt"], "out.svg"),
    "mermaid": lambda: to_file(["draw", "one.rlt", "--format", "mermaid"], "out.mmd"),
    "cost": lambda: to_file(["cost", "one.rlt", "--target", "m0plus_16k"], "out.md"),
    "page": lambda: to_file(["cost", "one.rlt", "--target", "m0plus_16k"], "out.html"),
    "quantize": lambda: to_file(["quantize", "one.rlt", "--data", "random", "--limit", "2"], "out.rlt"),
    "compress": lambda: to_file(["compress", "one.rlt", "--sparsity", "0.5", "--more-than", "10"], "out.rlt"),
    "emit": emit_new,
    "emit over another": emit_over,
    "train": train,
    "plainly": plainly,
}


def main(name: str, folder: str, most: str) -> None:
    for one in [known for known in CASES if known not in ("train", "plainly")] if name == "all" else [name]:
        count = sweep_through(CASES[one](), Path(folder) / one, int(most))
        print(f"{one}: {count} points", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
