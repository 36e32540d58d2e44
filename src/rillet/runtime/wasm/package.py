"""The folder of a network for web pages: module, its JavaScript and types, and a page; or that page as one file."""

import base64
import json
import re
from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path

from rillet.data.images import FORMATS, load_input
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.wasm.building import build_wasm
from rillet.system.printable import printable
from rillet.system.reading import MODEL_BYTES, PICTURE_BYTES, read_bytes

_SHIPPED = ("net.js", "net.d.ts", "worker.js", "page.js", "page.css")
_BROWSERS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")
"""How files begin that browsers show: PNG, JPEG, GIF, WebP, BMP."""
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
PAGE = "index.html"


def folder(plan: RowPlan, *, single_file: bool, picture: Path | None) -> dict[str, str | bytes]:
    """The files by name: of one page with everything in it, where that is asked for.

    picture: shown when the page opens. Raises GraphError for what is none, and as `build_wasm` does.
    """
    module = read_bytes(build_wasm(plan), MODEL_BYTES)
    blocks = [] if picture is None else [block("example-picture", picture_bytes(picture, plan.graph))]
    if single_file:
        return {PAGE: one_file(own(PAGE), ("net.js", "page.js"), [block("net-wasm", module), *blocks])}
    title = printable(plan.graph.name)
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:100] or "net"
    words = {"@NAME@": slug, "@DESCRIPTION@": json.dumps(f"{title}, compiled to WebAssembly by Rillet")[1:-1]}
    package = own("package.json")
    for word, value in words.items():
        package = package.replace(word, value)
    page = own(PAGE).replace("</main>", "\n".join(["</main>", *blocks]))
    return {
        "net.wasm": module,
        PAGE: page,
        "package.json": package,
        "README.md": own("README.md").replace("@TITLE@", _in_markdown(title)),
        **{name: own(name) for name in _SHIPPED},
    }


def own(name: str) -> str:
    """A file of the page, as it lies in the package."""
    return (package_files("rillet.runtime.wasm") / "web" / name).read_text(encoding="utf-8")


def block(name: str, data: bytes) -> str:
    """Bytes that a page brings in itself, in an element of this id."""
    return f'<script type="text/plain" id="{name}">{base64.b64encode(data).decode("ascii")}</script>'


def one_file(page: str, scripts: Sequence[str], blocks: Sequence[str], styles: Sequence[str] = ("page.css",)) -> str:
    """A page with its styles, its scripts (each after those that it imports) and blocks of data in itself.

    It must name the last of both.
    """
    code = "\n".join(_EXPORT.sub("", _IMPORT.sub("", own(name))) for name in scripts)
    assert "</script" not in code
    style = "".join(map(own, styles))
    page = page.replace(f'<link rel="stylesheet" href="./{styles[-1]}">', f"<style>\n{style}</style>")
    last = f'<script type="module" src="./{scripts[-1]}"></script>'
    assert last in page
    return page.replace(last, "\n".join([*blocks, f'<script type="module">\n{code}</script>']))


def picture_bytes(path: Path, graph: Graph) -> bytes:
    """The bytes of a picture that a network takes.

    Raises GraphError for what is none, Unsupported for one that browsers do not show.
    """
    load_input(path, graph)
    data = read_bytes(path, PICTURE_BYTES, "an image file")
    if not data.startswith(_BROWSERS):
        known = ", ".join(name for name in FORMATS if name in ("PNG", "JPEG", "GIF", "BMP", "WEBP"))
        raise Unsupported(f"{path}: must be a picture that browsers show ({known})")
    return data


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)
