"""A page for the browser, with all that it shows in the one file: headings, tables, lists and pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rillet.report.picture.ink import escaped
from rillet.report.tables import Table

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b2026; --soft: #57606a; --line: #d9dee4; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e8ebef; --soft: #a0a9b4; --line: #333b45; } }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 Arial, Helvetica, 'Liberation Sans', sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
p { margin: 0.3rem 0; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; }
th.words, td.words { text-align: left; }
li { color: var(--soft); font-size: 13px; }
svg { max-width: 100%; height: auto; display: block; margin: 0.5rem 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(36rem, 100%), 1fr)); gap: 0 1rem; }
@media print { body { margin: 0; max-width: none; } svg, tr { break-inside: avoid; } }
""".strip()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and any of a table, a list and pictures (SVG documents) under it."""

    heading: str
    table: Table | None = None
    items: Sequence[str] = ()
    pictures: Sequence[str] = ()
    side_by_side: bool = False


def page(title: str, about: str, sections: Iterable[Section]) -> str:
    """The page as an HTML document that loads nothing."""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escaped(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        "</head>",
        "<body>",
        f"<h1>{escaped(title)}</h1>",
        f"<p>{escaped(about)}</p>",
    ]
    for section in sections:
        lines.append(f"<h2>{escaped(section.heading)}</h2>")
        if section.table is not None:
            lines += ['<div class="wide">', *_table(section.table), "</div>"]
        if section.items:
            lines += ["<ul>", *(f"<li>{escaped(item)}</li>" for item in section.items), "</ul>"]
        if section.pictures:
            lines += ['<div class="pictures">' if section.side_by_side else "<div>", *section.pictures, "</div>"]
    return "\n".join([*lines, "</body>", "</html>"]) + "\n"


def _table(table: Table) -> list[str]:
    """The cells alone; notes are for a list."""
    classes = [' class="words"' if column.words else "" for column in table.columns]
    names = (column.name for column in table.columns)
    head = "".join(f"<th{kind}>{escaped(name)}</th>" for kind, name in zip(classes, names, strict=True))
    rows = [
        "<tr>" + "".join(f"<td{kind}>{escaped(cell)}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in table.rows
    ]
    return ["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *rows, "</tbody>", "</table>"]
