"""No module asks an op for its class: it asks `ir/facts.py`, or matches."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
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


def _of_classes(value: ast.expr, names: set[str]) -> bool:
    """True of an op class, and of a union or tuple with one."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        return _of_classes(value.left, names) or _of_classes(value.right, names)
    if isinstance(value, ast.Tuple):
        return any(_of_classes(part, names) for part in value.elts)
    return isinstance(value, ast.Name | ast.Attribute) and ast.unparse(value) in names


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
        "Pool": ops.Pool(ops.PoolKind.MAX, ops.Window()),
        "Slice": ops.Slice(0, 1),
        "Pad": ops.Pad((0, 0, 0, 0)),
        "Resize": ops.Resize((0,), (0,)),
    }
    each = [made[op.__name__] if op.__name__ in made else op() for op in get_args(ops.Op)]
    questions = [value for name, value in vars(facts).items() if getattr(value, "__module__", "") == facts.__name__]
    assert len(questions) >= 20
    for question in questions:
        true = [op for op in each if question(op)]
        assert 0 < len(true) < len(each), question.__name__
