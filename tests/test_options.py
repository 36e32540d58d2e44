"""Options that do nothing are errors: each option of each command, in each mode, changes the result or is refused."""

import csv
import hashlib
import itertools
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from dead import deadened
from rillet.cli import app
from rillet.errors import GraphError, RilletError, TargetError
from rillet.exporters import rlt
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.plan.options import PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.report.pixels import plan_record as pixel_record
from rillet.report.records import plan_record
from rillet.runtime.quantization import quantize_with
from rillet.runtime.verify import random_inputs
from rillet.system.options import Uses, at_most_one
from rillet.targets.catalogue import load as load_target
from rillet.transforms.fold import fold
from rillet.zoo.layers import Layers, Resolution
from rillet.zoo.weights import with_seeded_weights

FLOAT, INT8, OTHER = "float.rlt", "int8.rlt", "other.rlt"
BOARD, CHIP, PICTURE, ARRAY = "nano33ble", "zcu102", "picture.png", "input.npy"
JSON = "--json"


@dataclass(frozen=True)
class Command:
    """How a command is swept."""

    modes: tuple[str, ...]
    """What is said in each mode."""
    telling: dict[str, str] = field(default_factory=dict)
    """A value of each option at which it shows that it does something."""
    patched: tuple[tuple[str, str], ...] = ()
    """Functions whose arguments stand for the result: what they do takes long, or is another each time."""


TABLES = {"--csv": "", "--markdown": "", JSON: ""}
PROCESSOR = {"--ram": "1B", "--objective": "time", "--resident": "", "--max-slowdown": "0", "--threads": "1000"}
PROCESSOR |= {"--precision": "int8"}
PIPELINE = {
    **{"--multipliers": "3", "--interval": "7777", "--memory": "100B", "--clock": "123MHz", "--bits": "16"},
    **{"--ceil": "", "--recompute": "all", "--ideal": ""},
}
CHIP_MODES = ("--multipliers 37", f"--target {CHIP}", "--interval 5000", "--interval 5000 --ideal")
HOSTED = ("", "--target portable")
ON_BOARD = f"--target {BOARD}"
AS_HARDWARE = f"{INT8} --interval 5000"

COMMANDS = {
    "show": Command((FLOAT,), {"--text": "", **TABLES}),
    "models": Command(("", "mobilenet_v2_cifar10"), {**TABLES}),
    "ops": Command(("",), {"--format": "onnx", **TABLES}),
    "doctor": Command(("",), {**TABLES}),
    "count": Command(
        (FLOAT, f"{FLOAT} --signs", f"{FLOAT} --by layer"),
        {"--convention": "pthflops", "--by": "kind", "--bits": "4", "--signs": "", "--live": "", **TABLES},
    ),
    "explain": Command(
        (FLOAT, f"{FLOAT} --layer stem.conv"),
        {"--layer": "block1.expand", "--fps": "7", "--memory": "1MiB", "--bits": "4", **TABLES},
    ),
    "compare": Command(
        (f"{FLOAT} {OTHER}", f"{FLOAT} {OTHER} --target {BOARD} -o OUT.html"),
        {"--bits": "32", "--target": CHIP, "-o": "OTHER.html", **TABLES},
    ),
    "convert": Command(
        (f"{FLOAT} -o OUT.rlt", f"{INT8} -o OUT.rlt"), {"--fold": "", "--dequantize": "", "--live": "", JSON: ""}
    ),
    "plan": Command(
        tuple(f"{FLOAT} {mode}" for mode in (*HOSTED, ON_BOARD, *CHIP_MODES, "--multipliers 37 --devices 2 --ideal")),
        {"--target": CHIP, "--devices": "3", "--live": "", **TABLES, **PROCESSOR, **PIPELINE},
    ),
    "emit": Command(
        (*(f"{FLOAT} -o OUT {mode}" for mode in (*HOSTED, ON_BOARD)), f"{INT8} -o OUT --interval 5000"),
        {
            "--target": "avx2",
            "--interval": "7777",
            "--layout": "cmake|zephyr",
            "--image": PICTURE,
            "--prefix": "other",
            "--single-file": "",
            "--live": "",
            JSON: "",
            **PROCESSOR,
        },
    ),
    "page": Command(
        (f"{FLOAT} -o OUT.html",),
        {"--target": BOARD, "--image": PICTURE},
        (("rillet.api.pages.page", "call"),),
    ),
    "serve": Command(
        (FLOAT,), {"--target": BOARD, "--image": PICTURE, "--port": "7"}, (("rillet.api.pages.serve", "call"),)
    ),
    "simulate": Command(
        tuple(f"{FLOAT} {mode}" for mode in CHIP_MODES),
        {"--target": "ice40_up5k", "--images": "2", **TABLES, **PIPELINE},
    ),
    "synth": Command(
        (f"{INT8} --target {CHIP} --interval 5000",),
        {
            **{"--target": "ice40_up5k", "--interval": "7777", "--clock": "7MHz", "--stage": "n1", "--place": ""},
            **{"-o": "OUT.bit", "--by-shape": "", "--kept": ""},
        },
        (("rillet.api.synthesis.synth", "call"),),
    ),
    "systolic": Command(
        (
            *(FLOAT, f"{FLOAT} --convention scalesim", f"{FLOAT} --convention fuse", f"{FLOAT} --hardware fuse"),
            f"{FLOAT} --target gemmini_16x16",
        ),
        {
            **{"--rows": "3", "--columns": "5", "--dataflow": "ws", "--convention": "scalesim", "--hardware": "fuse"},
            **{"--target": "gemmini_16x16"},
            **{"--exact-maps": "", "--sram": "1", "--dram": "0.5", **TABLES},
        },
    ),
    "energy": Command(
        (FLOAT, f"{FLOAT} --schedule stream", f"{FLOAT} --schedule systolic", f"{FLOAT} --target {CHIP}"),
        {
            **{
                "--node": "7nm",
                "--operand": "fp32",
                "--accumulator": "8",
                "--weight-bits": "2",
                "--schedule": "stream",
            },
            **{"--weight-memory": "sram_1MB", "--array": "3", "--target": "systolic_64x64", **TABLES},
        },
    ),
    "fit": Command(
        (FLOAT, INT8, f"{FLOAT} --all", f"{FLOAT} --target m0plus_16k"),
        {"--target": "rp2040", "--all": "", "--bits": "8|32", "--objective": "time", "--live": "", **TABLES},
    ),
    "cost": Command(
        (f"{FLOAT} --target {BOARD}", f"{FLOAT} --target {CHIP}", f"{FLOAT} --target {BOARD} -o OUT.csv"),
        {"--target": "gemmini_16x16", "--bits": "8", "--node": "7nm", "--fps": "7", "-o": "OUT.md", **TABLES},
    ),
    "targets": Command(("", "--kind chip", CHIP), {"--kind": "board", "--toml": "", **TABLES}),
    "table": Command(
        ("alpha", "fuseconv", f"impossible {FLOAT}", f"narrow {FLOAT}", f"recompute {FLOAT}", f"microjoule {FLOAT}"),
        {"MODEL": OTHER, "--speedup": "", "--array": "32", "--node": "7nm", **TABLES},
    ),
    "draw": Command(
        tuple(
            f"{FLOAT} {mode}"
            for mode in (
                *(
                    "",
                    "--front",
                    f"--cost energy --target {BOARD}",
                    "--cost systolic",
                    f"--cost roofline --target {BOARD}",
                ),
                "--pipeline --multipliers 37",
                f"--floor --target {CHIP}",
                f"--target {BOARD}",
            )
        ),
        {
            **{
                "-o": "OUT.svg",
                "--format": "mermaid",
                "--pipeline": "",
                "--front": "",
                "--floor": "",
                "--cost": "systolic",
            },
            **{"--target": "ice40_up5k", "--node": "7nm", JSON: "", **PIPELINE},
        },
    ),
    "compress": Command(
        (
            f"{FLOAT} -o OUT.rlt",
            f"{FLOAT} --sparsity 0.5 --more-than 10",
            f"{FLOAT} --index-bits 3 --layers block1.expand",
        ),
        {
            **{"--sparsity": "0.8", "--index-bits": "2", "--more-than": "40", "--layers": "block1.project"},
            **{"-o": "OUT.onnx", "--data": "nowhere", **TABLES},
        },
    ),
    "quantize": Command(
        tuple(
            f"{FLOAT} --data random --limit 2 {mode}"
            for mode in (
                "-o OUT.rlt",
                "--compare",
                "--layer-errors",
                "--weight-bits ternary -o OUT.rlt",
                "--weight-bits binary -o OUT.rlt",
            )
        )
        + tuple(f"{FLOAT} --data random --weight-bits {bits} --float -o OUT.rlt" for bits in ("ternary", "binary")),
        {
            **{
                "-o": "OUT2.rlt",
                "--weight-bits": "ternary",
                "--threshold": "0.6",
                "--float": "",
                "--rounding": "fixed_point",
            },
            **{"--calibration": "minmax", "--equalize": "", "--correct-bias": "", "--limit": "1", "--evaluate": ""},
            **{"--compare": "", "--layer-errors": "", **TABLES},
        },
        (("rillet.runtime.quantization.accuracy", "accuracy"), ("rillet.runtime.quantization.check_classes", "none")),
    ),
    "run": Command(
        (*(f"{FLOAT} {PICTURE} {mode}" for mode in HOSTED), f"{FLOAT} {ARRAY} --raw"),
        {
            **{"--raw": "", "--labels": "names.txt", "--resize": "crop|stretch", "--mean": "3", "--deviation": "4"},
            **{"--target": "avx2", "--live": "", **PROCESSOR},
        },
        (("rillet.runtime.ready.make_ready", "plan"), ("rillet.runtime.classify.answer", "call")),
    ),
    "verify": Command(
        (*(f"{FLOAT} {mode}" for mode in HOSTED), AS_HARDWARE),
        {
            **{"--inputs": "3", "--against": "litert", "--target": "avx2", "--live": "", "--interval": "7777"},
            **{"--images": "2", "--all": "", "--stalls": "", "--vcd": "OUT.vcd", "--simulator": "cxxrtl", **PROCESSOR},
        },
        (("rillet.runtime.verify.verify", "call"), ("rillet.api.hardware.verify_hardware", "call")),
    ),
    "bench": Command(
        (FLOAT, f"{INT8} --target nano33ble"),
        {
            "--against": "torch",
            "--threads": "2",
            "--precision": "int8",
            "--batch": "2",
            "--rounds": "3",
            "--target": "portable",
            "--live": "",
        },
        (("rillet.api.measuring.measure", "call"), ("rillet.api.measuring.bench_board", "call")),
    ),
    "profile": Command(
        (FLOAT, f"{INT8} --target nano33ble"),
        {
            **{"--precision": "int8", "--ram": "1B", "--threads": "1000", "--runs": "3", "--objective": "time"},
            **{"--target": "portable", "--live": ""},
        },
        (("rillet.api.measuring.measure_layers", "call"), ("rillet.api.measuring.profile_board", "call")),
    ),
    "evaluate": Command(
        tuple(f"{FLOAT} --data cifar10 {mode}" for mode in ("", "--backend reference")),
        {"--data": "cifar100", "--classes": "cat,dog", "--backend": "torch", "--limit": "3", "--check": ""},
        (("rillet.data.given.open_dataset", "value"), ("rillet.api.accuracy.evaluate_plan", "checked")),
    ),
    "search": Command(
        ("mobilenet_v2 --data cifar10 --budget macs<=300k --out RUN",),
        {
            **{"--data": "cifar100", "--budget": "macs<=200k", "-o": "OTHER", "--for": "top1,params", "--hours": "3"},
            **{"--candidates": "3", "--rungs": "3x1", "--recipe": "vww", "--limit": "3", "--seed": "3", "--resume": ""},
            **{
                "--generations": "3",
                "--supernet": "3",
                "--workers": "3",
                "--dask": "localhost:1",
                "--ray": "localhost:1",
                "--network": "a",
            },
            **{"--spaces": "", "--toml": ""},
        },
        (("rillet.search.run.search", "call"),),
    ),
    "train": Command(
        (f"{FLOAT} --data cifar10 --out RUN",),
        {
            **{
                "--data": "cifar100",
                "--out": "OTHER",
                "--recipe": "vww",
                "--epochs": "3",
                "--batch": "5",
                "--upscale": "48",
            },
            **{"--classes": "cat,dog", "--freeze": "", "--ternary": "", "--seed": "3", "--resume": "", "--limit": "3"},
            **{"--threads": "2", "--processes": "2", "--device": "cuda", "--save-seconds": "3", "--save-steps": "3"},
            **{"--download": "", "--held-back": "3", "--teacher": "hub:mobilenet_v2_cifar10"},
        },
        (
            ("rillet.data.given.open_dataset", "value"),
            ("rillet.api.accuracy.subset", "value"),
            ("rillet.api.accuracy.limited", "value"),
            ("rillet.train.parallel.companions", "call"),
            ("rillet.data.archives.fetch", "call"),
            ("rillet.train.loop.train", "call"),
        ),
    ),
}
ANYWHERE = {"--weights": "nowhere.pt"}
"""A checkpoint is read and must fit, whatever the command makes of it."""
DEMANDS = {
    ("convert", "--fold", f"{INT8} -o OUT.rlt"): "no batch norm is left, and none was there",
    ("convert", "--dequantize", f"{FLOAT} -o OUT.rlt"): "all is real, and was before",
    ("cost", "--bits", f"{FLOAT} --target {CHIP}"): "a chip has integers alone; 32 is refused",
    ("quantize", "--evaluate", "--float"): "measured by a function that stands in here",
    ("verify", "--all", AS_HARDWARE): "shows more of what a function that stands in here measures",
}
"""What an option asks for and holds without it: a demand that is met, not one that is ignored."""
FORMS = {"run", "verify", "synth", "page", "serve", "bench", "profile", "evaluate", "search", "train"}
"""Their results are stood in for, so how they are printed is tested elsewhere."""


PROSE = {
    "convert": "writes a file, and says so",
    "draw": "prints a picture",
    "emit": "writes files, and says how to build them",
    "page": "writes a page, and says so",
    "serve": "serves a page, and says where",
    "train": "writes a run, and says where it is; its rows are log.csv",
}
"""Commands that print no table: of --csv, --markdown and --json they have the last."""


class _Called(RilletError):
    """What a function that stands in was called with."""


def network(seed: int, side: int = 18) -> Graph:
    net = Layers("small", Resolution(side, side), 3, "torch")
    net.block = "stem"
    net.conv_bn("conv", 14, 3, 2, Activation.RELU6)
    net.block, source = "block1", net.at
    net.conv_bn("expand", 84, activation=Activation.RELU)
    net.depthwise_bn(3, 1, Activation.RELU)
    net.conv_bn("project", 14)
    net.residual(source)
    net.block = "head"
    net.global_pool()
    net.dense("logits", 10)
    return with_seeded_weights(net.graph(), seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the commands are given."""
    made = tmp_path_factory.mktemp("options")
    graph = network(1)
    folded = fold(graph)
    int8 = deadened(quantize_with(folded, random_inputs(folded, 2)), 1)
    for name, net in ((FLOAT, graph), (INT8, int8), (OTHER, network(2, 20))):
        (made / name).write_bytes(rlt.to_bytes(net.with_name(name.partition(".")[0])))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(made / PICTURE)
    np.save(made / ARRAY, next(iter(random_inputs(folded, 1))))
    (made / "names.txt").write_text("".join(f"class {i}\n" for i in range(10)))
    return made


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    return dict(group.commands)  # type: ignore[attr-defined]


def options(command: str) -> Iterator[str]:
    """The options of a command, by their longest names but for -o, and arguments that may be left out."""
    for param in commands()[command].params:
        if param.param_type_name == "option" and "--help" not in param.opts:
            yield "-o" if "-o" in param.opts else max(param.opts, key=len)
        elif param.param_type_name == "argument" and not param.required and command == "table":
            yield "MODEL"


def described(value: object) -> object:
    """A value as text that is the same for equal ones; functions and open models have no such text."""
    if isinstance(value, dict):
        return {key: described(one) for key, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [described(one) for one in value]  # type: ignore[reportUnknownVariableType]
    if isinstance(value, Graph):
        return hashlib.sha256(rlt.to_bytes(value)).hexdigest()
    if hasattr(value, "graph") and hasattr(value, "segments"):
        image = value.graph.image  # type: ignore[attr-defined]
        return [repr(plan_record(value)), repr(value.host), repr(image), image.labels]  # type: ignore[attr-defined]
    if isinstance(value, PixelPlan):
        return [repr(pixel_record(value)), value.clock_hz]
    return "function" if callable(value) else repr(value)


def stand_in(kind: str, name: str) -> Callable[..., Any]:
    def call(*args: object, **more: object) -> object:
        said = described([args, more])
        match kind:
            case "none":
                return None
            case "accuracy":
                return int(hashlib.sha256(repr(said).encode()).hexdigest()[:6], 16) / 2**24
            case "value":
                return (name, *args, *more.items())
            case "plan":
                return args[1]()  # type: ignore[operator]
            case "checked" if args[2] != "c" and args[6]:
                raise GraphError("--check must come with --backend c")
            case _:
                raise _Called(repr(said))

    return call


@contextmanager
def patched(command: Command) -> Generator[None]:
    with ExitStack() as stack:
        for target, kind in command.patched:
            stack.enter_context(patch(target, stand_in(kind, target)))
        yield


class Sweep:
    """Runs one command in one folder, and knows what it gave before."""

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.folder, self.known = name, folder, dict[str, tuple[object, ...]]()
        monkeypatch.chdir(folder)

    def result(self, words: str) -> tuple[object, ...]:
        """Exit code, what was printed or refused, and the files that were written."""
        if words not in self.known:
            self.known[words] = self._run(words)
        return self.known[words]

    def tells(self, mode: str, option: str) -> bool:
        """Whether an option makes a difference, in what is printed or in the JSON."""
        if self.result(f"{mode} {option}") != self.result(mode):
            return True
        shown = self.name not in FORMS and option != JSON
        return shown and self.result(f"{mode} {option} {JSON}") != self.result(f"{mode} {JSON}")

    def _run(self, words: str) -> tuple[object, ...]:
        before = set(self.folder.iterdir())
        try:
            with patched(COMMANDS[self.name]):
                done = CliRunner().invoke(app, [self.name, *words.split()], catch_exceptions=False)
        except _Called as called:
            return "called", str(called)
        except RilletError as error:
            return "refused", str(error)
        written = sorted(path for path in self.folder.rglob("OUT*") if path not in before)
        files = [
            (path.name, path.read_bytes()) for path in self.folder.rglob("*") if path.is_file() and "OUT" in str(path)
        ]
        for path in written:
            if path.is_file():
                path.unlink()
        assert done.exit_code != 2, f"{self.name} {words}: {done.output}"
        return done.exit_code, done.output, tuple(sorted(files))


def test_every_option_has_a_telling_value() -> None:
    """A new option is swept, or this fails."""
    assert COMMANDS.keys() == commands().keys()
    for name, command in COMMANDS.items():
        listed = {
            *command.telling,
            *ANYWHERE,
            *(TABLES if name in FORMS else ()),
            *(("-o",) if name in ("profile", "run") else ()),
        }
        fixed = {word for mode in command.modes for word in mode.split() if word.startswith("-")}
        assert set(options(name)) <= listed | fixed, name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_does_something_or_is_refused(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "train":
        pytest.importorskip("torch")
    sweep, command = Sweep(name, folder, monkeypatch), COMMANDS[name]
    idle: list[str] = []
    for mode, option in itertools.product(command.modes, options(name)):
        value = {**command.telling, **ANYWHERE}.get(option)
        if value is None or option in mode.split() or (option == "MODEL" and FLOAT in mode):
            continue
        if (name, option, mode) in DEMANDS or any(key[:2] == (name, option) and key[2] in mode for key in DEMANDS):
            continue
        assert name in FORMS or sweep.result(mode)[0] != "refused", sweep.result(mode)
        said = [one if option == "MODEL" else f"{option} {one}" for one in value.split("|")]
        if not any(sweep.tells(mode, one) for one in said):
            idle.append(f"{name} {mode} {said[0]}")
    assert not idle, "\n".join(["does nothing:", *idle])


def test_every_command_that_prints_a_table_prints_it_in_every_form(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A law of all commands, declared once (cli/forms.py): the CSV has one width a table, the Markdown is a table."""
    forms = set(TABLES)
    assert {name for name in COMMANDS if not forms <= set(options(name))} == PROSE.keys()
    assert all(set(options(name)) & forms == {JSON} for name in PROSE)
    for name in sorted(COMMANDS.keys() - FORMS - PROSE.keys()):
        sweep, mode = Sweep(name, folder, monkeypatch), COMMANDS[name].modes[0]
        code, rows, _ = sweep.result(f"{mode} --csv")
        assert sweep.result(f"{mode} --json")[0] == sweep.result(f"{mode} --markdown")[0] == code, name
        for table in str(rows).split("\n\n"):
            assert len({len(row) for row in csv.reader(table.splitlines())}) == 1, (name, table)
        *_, markdown = str(sweep.result(f"{mode} --markdown")[1]).partition("| ")
        assert markdown.splitlines()[1].startswith("|--"), name
        assert isinstance(json.loads(str(sweep.result(f"{mode} --json")[1])), dict), name


def test_plans_refuse_what_their_kind_has_no_use_for() -> None:
    """The same sentences for those who call the library."""
    for said, sentence in (
        ({"multipliers": 4, "ram_bytes": 1000}, r"--ram must come with a processor or .*, got a chip"),
        (
            {"target": "zcu102", "objective": "memory"},
            "--objective must come with a processor or a board .* a chip",
        ),
        ({"target": "zcu102", "resident": True}, "--resident must come with a processor"),
        (
            {"target": "host", "objective": "time"},
            "--objective must come with a processor or a board .* --target host",
        ),
        ({"target": "avx2", "interval": 7}, r"--interval must come with a chip .*, got --target host"),
        ({"bits": 8}, r"--bits must come with a chip \(--target, .*\), got a processor"),
        ({"target": "nano33ble", "threads": 2}, "--threads must come with --target host.*, got a board"),
        ({"target": "nano33ble", "ceil": True}, r"--ceil must come with a chip \(--target, .*, got a board"),
        ({"target": "systolic_64x64"}, "must be a host, a board or a chip to be planned for, got a systolic array"),
        ({"objective": "space"}, "--objective must be memory or time, got 'space'"),
        ({"ceil": True}, "--ceil must come with a chip"),
        ({"threads": 2}, "--threads must come with --target host, or one with its kernels named, as avx512, got"),
        ({"slower": 3.0, "ram_bytes": 9}, "--max-slowdown must come without --ram and --objective time"),
    ):
        with pytest.raises(TargetError, match=sentence):
            named = said.pop("target", None)
            PlanOptions(target=named and load_target(named), **said)  # type: ignore[arg-type]


def test_options_of_a_mode() -> None:
    uses = Uses({"--left": ("--one",), "--right": ("--two",)})
    uses.check("--left", {"--one": 1, "--two": None, "--free": 3})
    uses.check("--left", {"--two": False})
    with pytest.raises(GraphError, match="--two must come with --right, got --left"):
        uses.check("--left", {"--two": 0})
    at_most_one({"--csv": False, "--markdown": True})
    with pytest.raises(GraphError, match="one of --csv, --markdown and --json must be given, got --csv and --json"):
        at_most_one({"--csv": True, "--markdown": False, "--json": True})
