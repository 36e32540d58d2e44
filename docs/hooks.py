"""What the site has beside docs/: the pages of the repository's root, with links as they are there."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("ARCHITECTURE.md",)


def on_files(files: Files, config: Any) -> Files:
    """Adds the root's pages to the site's."""
    for name in PAGES:
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to a page of the root, and to a file of the source, which the site does not have: its name alone."""
    for name in PAGES:
        markdown = markdown.replace(f"](../{name}", f"]({name}")
    return re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", markdown)
