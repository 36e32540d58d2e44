"""Prints which networks Rillet reads, and whether they give the values of the runtime that they come from.

usage: python bench/coverage.py PART [FOLDER ...] [--only WORDS] [--every N [--first N]] [--seconds N] [--gigabytes N]
       [--read] [--json] [--keep FILE] [--write NAME]

PART: one of those below, each of which says what its folders are. A network is read and compared in a process of its
own, within a time and a memory limit. --keep: writes what is found into FILE, a line a network, and looks at none that
stands there already, so that a long run may be cut off and go on. --write: puts the table into docs/coverage.md, under
a heading of that name, in place of what stands there.
"""

import argparse
import importlib
import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

from cover import Case, Found, Part

from rillet.errors import RilletError
from rillet.system.files import write_file

PARTS = {
    "tflite": ("cover_tflite", "PART"),
    "keras": ("cover_keras", "PART"),
    "onnx": ("cover_onnx", "PART"),
    "torchvision": ("cover_torch", "TORCHVISION"),
    "timm": ("cover_torch", "TIMM"),
}
"""Modules beside this one, and what the part is called there."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"


def part_of(name: str) -> Part:
    module, part = PARTS[name]
    return getattr(importlib.import_module(module), part)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--only", default="", help="only networks whose name has these words")
    parser.add_argument("--every", type=int, default=1, help="only one network of so many, as a sample")
    parser.add_argument("--first", type=int, default=0, help="the place of the first one of a sample")
    parser.add_argument("--read", action="store_true", help="read them alone, compare nothing")
    parser.add_argument("--seconds", type=float, default=300, help="of one network")
    parser.add_argument("--gigabytes", type=float, default=4, help="of address space, of one network")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="a line of JSON a network; those there are done")
    parser.add_argument("--write", metavar="NAME", help="the heading in docs/coverage.md")
    parser.add_argument("--one", metavar="PLACE", help=argparse.SUPPRESS)
    said = parser.parse_args()
    part = part_of(said.part)
    if said.one is not None:
        one(part, said.one, said.read)
        return
    rows: list[tuple[Case, Found]] = []
    known = kept(said.keep)
    for place, case in enumerate(case for case in part.cases(said.folders) if said.only in case.name):
        if place % said.every == said.first % said.every:
            found = known.get(case.name) or apart(said.part, case, said.seconds, said.gigabytes, said.read)
            rows.append((case, found))
            if said.keep is not None and case.name not in known:
                known[case.name] = found
                write_file(said.keep, "".join(f"{as_json(*row)}\n" for row in known.items()).encode())
            print(as_json(case.name, found) if said.json else line(*rows[-1]), flush=True)
    print(totals(rows), file=sys.stderr)
    if said.write:
        write_file(PAGE, put(PAGE.read_text(), said.write, section(part, rows, said.every, said.first)).encode())


def as_json(name: str, found: Found) -> str:
    return json.dumps({"name": name, **asdict(found)})


def kept(path: Path | None) -> dict[str, Found]:
    """What was found of each network in an earlier run, by name."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    found = [json.loads(text) for text in lines]
    return {known.pop("name"): Found(**known) for known in found}


def one(part: Part, place: str, only_read: bool = False) -> None:
    """Looks at one network, and prints what is known whenever that has changed."""
    found, start = Found(only_read=only_read), time.perf_counter()

    def tell() -> None:
        found.seconds = time.perf_counter() - start
        found.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(asdict(found)), flush=True)

    tell()
    try:
        part.look(place, found, tell)
        found.stage = "done"
    except RilletError as error:
        found.refusal = str(error).removeprefix(f"{place}: ").partition("; rillet ops")[0]
    except MemoryError:
        found.refusal = f"{found.stage} took more memory than allowed"
    tell()


def apart(part: str, case: Case, seconds: float, gigabytes: float, only_read: bool = False) -> Found:
    """What a process of its own finds of one network, or what it knew when it was ended."""
    limit = int(gigabytes * 2**30)
    command = [sys.executable, __file__, part, "--one", case.place, *(["--read"] if only_read else [])]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
            ended = f"ended with {process.returncode} ({err.strip().splitlines()[-1][:200] if err.strip() else ''})"
        except subprocess.TimeoutExpired:
            process.kill()
            out, ended = process.communicate()[0], f"took more than {seconds:g} s"
    known = [json.loads(text) for text in out.splitlines() if text.startswith("{")]
    found = Found(**known[-1]) if known else Found()
    if found.stage != "done" and not found.refusal:
        found.refusal = f"{found.stage} {ended}"
    return found


def verdict(found: Found) -> str:
    """The last column: equal, or what stands in the way."""
    if found.refusal:
        return found.refusal
    if found.difference:
        return f"differs: {found.difference}"
    if found.only_read:
        return "read"
    if not found.against:
        return f"read; C equals the reference ({found.note or 'no runtime to compare with'})"
    if found.rounding is not None:
        return f"equals {found.against} within float32's rounding ({found.rounding:.0%} of it)"
    return f"equals {found.against}, every byte"


def line(case: Case, found: Found) -> str:
    return (
        f"{case.name:50} {found.kind:14} {found.nodes:5} {found.macs / 1e6:9.1f} {found.seconds:6.1f}  {verdict(found)}"
    )


def totals(rows: list[tuple[Case, Found]]) -> str:
    """How many networks are read, and how many of them compared and equal."""
    read = [found for _, found in rows if found.nodes]
    equal = sum(not found.refusal and not found.difference and bool(found.against) for found in read)
    return f"{len(read)} of {len(rows)} networks are read; {equal} of these were compared and are equal."


def section(part: Part, rows: list[tuple[Case, Found]], every: int = 1, first: int = 0) -> str:
    """The text under a heading of the page."""
    sample = f" A sample (`--every {every} --first {first}`)." if every > 1 else ""
    lines = ["| network | values | nodes | M MACs | s | found |", "|---|---|---:|---:|---:|---|"]
    for case, found in rows:
        count = (str(found.nodes), f"{found.macs / 1e6:,.1f}") if found.nodes else ("", "")
        cells = (f"`{case.name}`", found.kind, *count, f"{found.seconds:.0f}", verdict(found).replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return f"{part.says}\n\n{totals(rows)}{sample} {date.today():%-d %B %Y}.\n\n" + "\n".join(lines) + "\n"


def put(page: str, name: str, text: str) -> str:
    """The page with `text` under the heading `name`, which is added at the end where it is missing."""
    heading = f"## {name}\n"
    found = re.search(rf"^{re.escape(heading)}.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{page.rstrip()}\n\n{heading}\n{text}"
    space = "\n" if found.end() < len(page) else ""
    return f"{page[: found.start()]}{heading}\n{text}{space}{page[found.end() :]}"


if __name__ == "__main__":
    main()
