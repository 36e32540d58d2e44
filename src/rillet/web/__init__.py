"""Pages for browsers, put together from files that lie in the package: one head, styles, and scripts as ES modules."""

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_WORD = re.compile(r"@([A-Z]+)@")
ALONE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:"
"""The policy of a page that is one file and runs no WebAssembly: nothing is loaded, from anywhere."""
WITH_NETWORK = ALONE.replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' 'wasm-unsafe-eval'")
"""And of one that runs it."""
WITH_CAMERA = f"{WITH_NETWORK}; media-src blob:"
IN_FOLDER = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src blob: data:; "
    "media-src blob:; connect-src 'self'"
)
"""And of one that lies in a folder, beside its files."""


def shared(name: str) -> Traversable:
    """A style or script that pages share."""
    return files(__name__) / name


def one_file(
    title: str,
    body: str,
    scripts: Sequence[Traversable],
    *,
    styles: Sequence[Traversable] = (),
    blocks: Sequence[str] = (),
    policy: str = ALONE,
) -> str:
    """A page with everything in it. scripts: each after those that it imports, without what they share by name.

    body: HTML. blocks: elements that its scripts read.
    """
    code = "\n".join(_EXPORT.sub("", _IMPORT.sub("", text(one))) for one in scripts)
    assert "</script" not in code
    style = "".join(map(text, styles))
    ends = [*blocks, f'<script type="module">\n{code}</script>']
    return _page(title, body, f"<style>\n{style}</style>", ends, policy)


def linked(title: str, body: str, script: str, *, styles: Sequence[str], blocks: Sequence[str] = ()) -> str:
    """A page in a folder, whose styles and script lie there by these names."""
    links = "\n".join(f'<link rel="stylesheet" href="./{style}">' for style in styles)
    return _page(title, body, links, [*blocks, f'<script type="module" src="./{script}"></script>'], IN_FOLDER)


def filled(template: Traversable, words: Mapping[str, str]) -> str:
    """A template with HTML in place of each @WORD@; what comes in is not looked at for others."""
    return _WORD.sub(lambda found: words[found[1]], text(template))


def escaped(words: str) -> str:
    """Text as HTML shows it, in attributes too."""
    return html.escape(words, quote=True)


def bytes_block(name: str, data: bytes) -> str:
    """Bytes that a page brings in itself, in an element of this id."""
    return f'<script type="text/plain" id="{name}">{base64.b64encode(data).decode("ascii")}</script>'


def bytes_shown(count: int) -> int:
    """What so many bytes take in a page."""
    return -(-count // 3) * 4


def data_block(name: str, value: object) -> str:
    """A value as JSON, in an element of this id, which no text of the value can end."""
    found = as_json(value).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{found}</script>'


def packed_block(name: str, data: bytes) -> str:
    """Bytes compressed, for what a page can do without: browsers from before 2023 cannot open them."""
    return bytes_block(name, gzip.compress(data, mtime=0))


def as_json(value: object) -> str:
    """A value as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _page(title: str, body: str, styles: str, scripts: Sequence[str], policy: str) -> str:
    words = {"POLICY": policy, "TITLE": escaped(title), "STYLES": styles, "BODY": body.strip("\n")}
    return filled(shared("head.html"), {**words, "SCRIPTS": "\n".join(scripts)})


def text(file: Traversable) -> str:
    """The text of a file of the package."""
    return file.read_text(encoding="utf-8")
