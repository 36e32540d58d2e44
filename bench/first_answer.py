"""Prints how long a page takes from a click on its link to the first answer that is seen, in a headless Chromium.

usage: python bench/first_answer.py [PAGE.html] [TIMES]

PAGE: written by `rillet emit MODEL -o DIR --target wasm --single-file --image PICTURE` or by `rillet page MODEL --image
PICTURE`, docs/demo.html by default. A page has the wall's clock alone, so other programs on the machine lengthen this.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chromium import browser  # noqa: E402

STEPS = {
    "script": "the page is read, and its script begins",
    "network": "the network is decoded and compiled",
    "answer": "the picture is decoded, the network has run, and its answer is painted",
}
_MARKS = """(() => {
  const at = (name) => performance.getEntriesByName(name)[0].startTime;
  const read = performance.getEntriesByType("navigation")[0].domInteractive;
  return { script: read, network: at("network"), answer: at("answer") };
})()"""


def main(page: Path, times: int) -> None:
    """Opens the page so often."""
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as tab:
        for _ in range(times):
            tab.open("about:blank")
            tab.open(page.resolve().as_uri())
            tab.wait("performance.getEntriesByName('answer').length")
            found.append(tab.ask(_MARKS))
    print(f"{page.name}, {page.stat().st_size:,} bytes, opened {times} times; load {os.getloadavg()[0]:.1f}")
    for name, words in STEPS.items():
        at = [one[name] for one in found]
        print(f"{min(at):7.0f} ms at least, {median(at):7.0f} in the middle: {words}")
    best = min(found, key=lambda one: one["answer"])
    own = best["answer"] - best["script"]
    print(f"{own:7.0f} ms of the fastest lie between its script and its answer")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "demo.html", int((sys.argv[2:] or ["10"])[0]))
