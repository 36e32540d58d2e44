"""No module asks an op for its class: it asks `ir/facts.py`, or matches."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from rillet.ir import facts, ops

SOURCE = Path(ops.__file__).parents[1]
CLASSES = {op.__name__ for op in get_args(ops.Op)}
MAY_ASK = {
    "ir/": "ops.py and facts.py say what is true of which op",
    "importers/": "each has its rows of operators, and patterns of the ops that it just made",
    "exporters/": "each has its rows of operators",
}


Package = Mapping[str, set[str]]
"""For each module, its names that stand for op classes."""


@dataclass
class Module:
    """What a module imports, what it gives names to, and where it asks: all that is needed of its tree."""

    tree: ast.Module
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    assigned: list[tuple[str, ast.expr]] = field(default_factory=list)
    questions: list[tuple[int, list[ast.expr]]] = field(default_factory=list)
    matches: list[ast.Match] = field(default_factory=list)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            match node:
                case ast.Import() | ast.ImportFrom():
                    self.imports.append(node)
                case ast.Assign(targets=targets, value=value):
                    self.assigned += [(target.id, value) for target in targets if isinstance(target, ast.Name)]
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.assigned.append((name, value))
                case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, classes]):
                    self.questions.append((node.lineno, [classes]))
                case ast.Match():
                    self.matches.append(node)
                case ast.Compare(left=left, comparators=others):
                    self.questions.append((node.lineno, [left, *others]))
                case _:
                    pass

    def names(self, package: Package) -> set[str]:
        """Names, as the module writes them, that stand for op classes: imported, or unions and tuples of others."""
        names: set[str] = set()
        for node in self.imports:
            if isinstance(node, ast.Import):
                names |= {f"{a.asname or a.name}.{name}" for a in node.names for name in package.get(a.name, ())}
                continue
            for a in node.names:
                if a.name in package.get(node.module or "", ()):
                    names.add(a.asname or a.name)
                names |= {f"{a.asname or a.name}.{name}" for name in package.get(f"{node.module}.{a.name}", ())}
        while more := {name for name, value in self.assigned if name not in names and _of_classes(value, names)}:
            names |= more
        return names

    def asks(self, package: Package) -> list[int]:
        """Lines on which it asks whether something is of an op class."""
        names = self.names(package)
        return [line for line, found in self.questions if any(_of_classes(part, names) for part in found)]

    def op_matches(self, package: Package) -> list[ast.Match]:
        """Its matches that have a case for an op class."""
        names = self.names(package)
        return [match for match in self.matches if any(_of_classes(found, names) for found in _cases(match))]


def _cases(match: ast.Match) -> list[ast.expr]:
    """The classes that its cases name."""
    parts = (part for case in match.cases for part in ast.walk(case.pattern))
    return [part.cls for part in parts if isinstance(part, ast.MatchClass)]


def _has_every_case(match: ast.Match) -> bool:
    """True where the last case asserts that none is left: pyright lists it when an op is new."""
    return any(isinstance(part, ast.Name) and part.id == "assert_never" for part in ast.walk(match.cases[-1]))


def _of_classes(value: ast.expr, names: set[str]) -> bool:
    """True of an op class, and of a union or tuple with one."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        return _of_classes(value.left, names) or _of_classes(value.right, names)
    if isinstance(value, ast.Tuple):
        return any(_of_classes(part, names) for part in value.elts)
    return isinstance(value, ast.Name | ast.Attribute) and ast.unparse(value) in names


@cache
def modules() -> dict[Path, Module]:
    """All modules of the package, by their paths within it."""
    return {path.relative_to(SOURCE): Module(ast.parse(path.read_text())) for path in sorted(SOURCE.rglob("*.py"))}


def aliases(found: Mapping[Path, Module]) -> dict[str, set[str]]:
    """For each module by its dotted name, its own names that stand for op classes."""
    dotted = {
        ".".join(("rillet", *path.with_suffix("").parts)).removesuffix(".__init__"): module
        for path, module in found.items()
    }
    known: dict[str, set[str]] = {"rillet.ir.ops": {*CLASSES, "Op"}}
    while True:
        now = {name: {n for n in module.names(known) if "." not in n} for name, module in dotted.items()}
        now["rillet.ir.ops"] |= known["rillet.ir.ops"]
        if now == known:
            return known
        known = now


def test_no_module_asks_an_op_for_its_class() -> None:
    found = modules()
    known = aliases(found)
    asking = {str(path): lines for path, module in found.items() if (lines := module.asks(known))}
    others = {path: lines for path, lines in asking.items() if not path.startswith(tuple(MAY_ASK))}
    assert not others, "must ask ir/facts.py, or match"
    assert {prefix for prefix in MAY_ASK if any(path.startswith(prefix) for path in asking)} == MAY_ASK.keys()


MAY_MATCH_AGAIN = {
    "analyses/count.py": "what a layer is called, beside what it counts",
    "plan/rows/kernels.py": "which types have binary kernels, before which kernel",
    "transforms/quantize.py": "which values share a scale, and then what each op becomes",
}
"""Modules with more than one match over ops, and of what."""


@cache
def matches_of_modules() -> dict[str, list[ast.Match]]:
    """For each module that matches ops, but those that say what ops are or read files: these matches."""
    found = modules()
    known = aliases(found)
    made = {str(path): module.op_matches(known) for path, module in found.items()}
    return {path: some for path, some in made.items() if some and not path.startswith(("ir/", "importers/"))}


def test_a_module_matches_ops_once() -> None:
    """Two matches of one module are two places for what an op is there: the second is a question of ir/facts.py."""
    found = matches_of_modules()
    assert {path for path, some in found.items() if len(some) > 1} == MAY_MATCH_AGAIN.keys()
    for path, some in found.items():
        assert sum(map(_has_every_case, some)) <= 1, path


def test_the_page_lists_every_match_that_a_new_op_must_enter() -> None:
    """docs/add-an-op.md names the modules that pyright names, and no others, in its table."""
    must = {path for path, some in matches_of_modules().items() if any(map(_has_every_case, some))}
    page = (Path(__file__).parents[1] / "docs" / "add-an-op.md").read_text()
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", page, re.M)
    assert sorted(listed) == sorted({*must, "ir/ops.py"})


@pytest.mark.parametrize(
    "source",
    [
        "from rillet.ir.ops import Conv\nisinstance(op, Conv)",
        "from rillet.ir.ops import Conv as C, Pool\nisinstance(op, Pool | C)",
        "from rillet.ir.ops import Conv\nisinstance(op, (int, Conv))",
        "from rillet.ir import ops\nisinstance(op, ops.Conv)",
        "from rillet.ir import ops as o\nLAYERS = o.Conv | o.Pool\nisinstance(op, LAYERS)",
        "import rillet.ir.ops\ntype(op) is rillet.ir.ops.Conv",
        "from rillet.ir.ops import Add, Conv\nA = Add\nB = (A, int)\nisinstance(op, B)",
        "from rillet.other import LAYERS\nisinstance(op, LAYERS)",
        "from rillet.ir.ops import Op\nisinstance(op, Op)",
        "from rillet.ir.ops import Conv\ntype(op) in (int, Conv)",
    ],
)
def test_every_way_of_asking_is_seen(source: str) -> None:
    known = {"rillet.ir.ops": {*CLASSES, "Op"}, "rillet.other": {"LAYERS"}}
    assert Module(ast.parse(source)).asks(known) == [source.count("\n") + 1]


@pytest.mark.parametrize("source", ["from rillet.train.modules import Conv\nisinstance(layer, Conv)", "x is None"])
def test_other_classes_may_be_asked_for(source: str) -> None:
    assert Module(ast.parse(source)).asks({"rillet.ir.ops": CLASSES}) == []


def test_every_question_has_an_answer_for_each_op() -> None:
    made = {
        "Conv": ops.Conv(1),
        "Activate": ops.Activate(ops.Activation.RELU),
        "Apply": ops.Apply(ops.Curve.TANH),
        "Pair": ops.Pair(ops.PairKind.MAXIMUM),
        "Select": ops.Select((0,)),
        "DepthToSpace": ops.DepthToSpace(1, 1, 1),
        "SpaceToDepth": ops.SpaceToDepth(1),
        "Pool": ops.Pool(ops.PoolKind.MAX, ops.Window()),
        "Slice": ops.Slice(0, 1),
        "Pad": ops.Pad((0, 0, 0, 0)),
        "Resize": ops.Resize((0,), (0,)),
        "Interpolate": ops.Interpolate((0,), (0,), (0.0,), (0.0,)),
    }
    each = [made[op.__name__] if op.__name__ in made else op() for op in get_args(ops.Op)]
    questions = [value for name, value in vars(facts).items() if getattr(value, "__module__", "") == facts.__name__]
    assert len(questions) >= 20
    for question in questions:
        true = [op for op in each if question(op)]
        assert 0 < len(true) < len(each), question.__name__
