"""The folder of a network for web pages: module, its JavaScript and types, and a page; or that page as one file."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path

from rillet import web
from rillet.data.images import FORMATS, load_input
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.plan.rows.plan import RowPlan
from rillet.runtime.wasm.building import build_plain, build_relaxed, build_wasm
from rillet.runtime.wasm.sections import without_data
from rillet.system.printable import printable
from rillet.system.reading import MODEL_BYTES, PICTURE_BYTES, read_bytes

_SHIPPED = ("net.js", "net.d.ts", "worker.js", "page.js")
_RELAXED = "net.relaxed.wasm"
_SHARED = ("parts.js", "page.css")
_BROWSERS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")
"""How files begin that browsers show: PNG, JPEG, GIF, WebP, BMP."""
PAGE = "index.html"
_TITLE = "A network in the browser"
_LOADING = "Loading …"
_SERVED = (
    f"{_LOADING} Browsers take the files of this folder from a web server alone; rillet emit --single-file writes a "
    "page that needs none."
)
"""What stands there until the script runs, which it never does where the folder is opened from a disk."""


def folder(plan: RowPlan, *, single_file: bool, picture: Path | None) -> dict[str, str | bytes]:
    """The files by name: of one page with everything in it, where that is asked for.

    picture: shown when the page opens. Raises GraphError for what is none, and as `build_wasm` does.
    """
    module = read_bytes(build_wasm(plan), MODEL_BYTES)
    blocks = [] if picture is None else [web.bytes_block("example-picture", picture_bytes(picture, plan.graph))]
    if single_file:
        return {PAGE: single_page([*network_blocks(plan, module), *blocks])}
    title = printable(plan.graph.name)
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:100] or "net"
    words = {"@NAME@": slug, "@DESCRIPTION@": json.dumps(f"{title}, compiled to WebAssembly by Rillet")[1:-1]}
    package = web.text(own("package.json"))
    for word, value in words.items():
        package = package.replace(word, value)
    shipped: dict[str, str | bytes] = {name: web.text(own(name)) for name in _SHIPPED}
    relaxed = build_relaxed(plan)
    if relaxed is not None:
        shipped[_RELAXED] = read_bytes(relaxed, MODEL_BYTES)
    else:
        package = package.replace(f'"./{_RELAXED}": "./{_RELAXED}", ', "").replace(f'"{_RELAXED}", ', "")
        shipped["net.js"] = web.text(own("net.js")).replace(f'"./{_RELAXED}"', '"./net.wasm"')
    body = web.filled(own(PAGE), {"LOADING": _SERVED})
    page = web.linked(_TITLE, body, "page.js", styles=["page.css"], blocks=blocks)
    return {
        "net.wasm": module,
        "net.plain.wasm": read_bytes(build_plain(plan), MODEL_BYTES),
        PAGE: page,
        "package.json": package,
        "README.md": web.text(own("README.md")).replace("@TITLE@", _in_markdown(title)),
        **shipped,
        **{name: web.text(web.shared(name)) for name in _SHARED},
    }


def own(name: str) -> Traversable:
    """A file of the page, as it lies in the package."""
    return package_files("rillet.runtime.wasm") / "web" / name


def network_blocks(plan: RowPlan, module: bytes, trace: bool = False) -> list[str]:
    """A module as pages have it, and all but the data of the build for engines with a dot product of bytes."""
    relaxed = build_relaxed(plan, trace)
    rest = None if relaxed is None else without_data(read_bytes(relaxed, MODEL_BYTES), module)
    return [
        web.bytes_block("net-wasm", module),
        *([] if rest is None else [web.packed_block("net-relaxed", rest)]),
    ]


def single_page(blocks: Sequence[str]) -> str:
    """The page as one file, with these blocks: those of the network, and perhaps `example-picture`."""
    scripts = [own("net.js"), web.shared("parts.js"), own("page.js")]
    body, styles = web.filled(own(PAGE), {"LOADING": _LOADING}), [web.shared("page.css")]
    return web.one_file(_TITLE, body, scripts, styles=styles, blocks=blocks, policy=web.WITH_CAMERA)


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
