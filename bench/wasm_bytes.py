"""Prints what a network as WebAssembly has beyond its weights: program, constants by what they are, names, and net.js.

usage: python bench/wasm_bytes.py MODEL
"""

import re
import sys
from collections import Counter

import rillet
from rillet import web
from rillet.backends.c.emit import sources
from rillet.plan.host.planner import plan_host
from rillet.runtime.wasm.building import build_wasm
from rillet.runtime.wasm.facts import section
from rillet.runtime.wasm.package import own
from rillet.targets.host import named_host
from rillet.transforms.fold import fold

_SIZE = re.compile(r"\.size net_(\w+)_data, (\d+)")
FIELDS = {
    "weights": "weights, beyond their own bytes",
    "bias": "biases, beyond their own bytes",
    "scale": "factors of channels, float32",
    "nudge": "what is added to them, float32",
    "shift": "shifts of channels, a byte each",
    "mantissa": "multipliers of channels that float32 does not show",
    "left": "their shifts to the left",
    "right": "their shifts to the right",
    "integers": "which channels these are",
    "table": "tables of functions",
}


def main(model: str) -> None:
    """Prints the table."""
    graph = fold(rillet.load(model))
    plan = plan_host(graph, named_host("wasm"))
    module, net_js = build_wasm(plan).stat().st_size, len(web.text(own("net.js")).encode())
    parts: Counter[str] = Counter()
    for name, size in _SIZE.findall(sources(plan).files["net_weights.s"]):
        field = name.rpartition("_")[2]
        if field in FIELDS:  # an array of zeros has no field, and no bytes in the file
            parts[field] += int(size)
    rows = {FIELDS[field]: size for field, size in parts.items()}
    for field in ("weight", "bias"):
        kept = sum(array.nbytes for name, array in graph.params.items() if name.endswith(f".{field}"))
        rows[FIELDS["weights" if field == "weight" else field]] -= kept
    rows["names, shapes, labels"] = len(section(plan, traced=False))
    rows["program, and what it keeps"] = module - graph.weight_bytes - sum(rows.values())
    rows["net.js"] = net_js
    print(f"{graph.name}: {sum(rows.values()):,} bytes beyond {graph.weight_bytes:,} of weights and biases")
    for words, size in sorted(rows.items(), key=lambda row: -row[1]):
        print(f"{size:9,}  {words}")


if __name__ == "__main__":
    main(sys.argv[1])
