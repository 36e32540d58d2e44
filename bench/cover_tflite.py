"""The part of coverage.py for .tflite files: those in folders, or in the packages that are installed here."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cover import Case, Found, Part

from rillet.errors import RilletError, Unsupported
from rillet.importers.tflite import Imported, load_with_tensors
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.oracles import LiteRt, installed
from rillet.runtime.verify import verify

INPUTS = 1


def cases(said: list[str]) -> Iterator[Case]:
    """The .tflite files in folders; where none are said, in the folders of installed packages."""
    folders = [Path(word) for word in said] or [Path(word) for word in sys.path if word.endswith("site-packages")]
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*.tflite")):
            yield Case(path.name if folder.is_file() else str(path.relative_to(folder)), str(path.resolve()))


def look(place: str, found: Found, told: Callable[[], None]) -> None:
    """Reads one file and compares every value of its network with LiteRT's, and the C program with the reference."""
    path = Path(place)
    imported = load_with_tensors(path)
    graph = imported.graph
    found.nodes, found.macs, found.stage = len(graph.nodes), graph.macs, "comparing"
    found.kind = " and ".join(sorted({node.type.dtype.numpy.name for node in graph.nodes}))
    told()
    against = _oracle(path, imported, found)
    done = verify(plan_rows(graph), INPUTS, path=path, imported=imported, against=against)
    found.against, found.rounding = against or "", done.rounding
    found.difference = "" if done.first_difference is None else str(done.first_difference)


def _oracle(path: Path, imported: Imported, found: Found) -> str | None:
    if not installed("litert"):
        return None
    try:
        LiteRt(path, imported.input_order)
    except RilletError as error:
        assert isinstance(error, Unsupported)
        found.note = "LiteRT has no kernel for it"
        return None
    return "litert"


PART = Part(
    "TensorFlow Lite files",
    "Every value of a network that is read is compared with LiteRT's reference kernels, node by node: integers byte "
    "for byte, float32 within what it may round there; and the C program, whole and pushed row by row, with Rillet's "
    "reference.",
    cases,
    look,
)
