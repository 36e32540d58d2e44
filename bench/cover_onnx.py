"""The part of coverage.py for .onnx files: those in folders, or in the packages that are installed here."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cover import Case, Found, Part

from rillet.errors import RilletError, Unsupported
from rillet.importers.onnx import Imported, load_with_views
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.oracles import OnnxRuntime, installed
from rillet.runtime.verify import verify
from rillet.transforms.fold import fold

INPUTS = 1
_OTHER_SIZE = "must be those of the file"
SIZES = ((64, 64), (48, 160), (32, 160), (640, 640))
"""Heights and widths for a file that leaves them open: the first with which it is read."""


def cases(said: list[str]) -> Iterator[Case]:
    """The .onnx files in folders; where none are said, in the folders of installed packages."""
    folders = [Path(word) for word in said] or [Path(word) for word in sys.path if word.endswith("site-packages")]
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*.onnx")):
            yield Case(path.name if folder.is_file() else str(path.relative_to(folder)), str(path.resolve()))


def look(place: str, found: Found, told: Callable[[], None]) -> None:
    """Reads one file, and compares every value that ONNX Runtime shows, and the C program with the reference."""
    path = Path(place)
    imported = _read(path)
    graph = imported.graph
    found.nodes, found.macs, found.stage = len(graph.nodes), graph.macs, "comparing"
    found.kind = " and ".join(sorted({node.type.dtype.numpy.name for node in graph.nodes}))
    told()
    if found.only_read:
        return
    against = "onnxruntime" if installed("onnxruntime") else None
    if against:
        try:
            OnnxRuntime(imported)
        except RilletError as error:
            against, found.note = None, str(error)
    done = verify(plan_rows(fold(graph)), INPUTS, path=path, against=against, original=graph)
    found.against, found.rounding = against or "", done.rounding
    found.difference = "" if done.first_difference is None else str(done.first_difference)


def _read(path: Path) -> Imported:
    try:
        return load_with_views(path)
    except Unsupported as error:
        if ":input=" not in str(error):
            raise
    last: RilletError | None = None
    for size in SIZES:
        try:
            return load_with_views(path, size)
        except RilletError as error:
            last = error if last is None or _OTHER_SIZE not in str(error) else last
    assert last is not None
    raise last


PART = Part(
    "ONNX files",
    "Every value that ONNX Runtime shows of a network is compared with Rillet's, node by node: integers within the step"
    " docs/onnx.md allows, float32 within what it may round there; and the C program, with batch norms folded, whole "
    "and pushed, with Rillet's reference. Files that leave height and width open are read with the first "
    f"that they take of {', '.join(f'{height}x{width}' for height, width in SIZES)}.",
    cases,
    look,
)
