"""The folder of a design: its Verilog, and what its owner builds, checks and reads."""

import re
from collections.abc import Mapping
from importlib.resources import files

import numpy as np

from rillet.backends import reference
from rillet.backends.rtl.design import Design, Port
from rillet.backends.rtl.names import shown
from rillet.ir.graph import Array
from rillet.plan.pipeline.plan import PixelPlan
from rillet.targets.families import FAMILIES


def project(plan: PixelPlan, design: Design, image: Array) -> dict[str, str]:
    """All files by their paths; `image` is the one that the testbench streams through it."""
    graph, into, out = plan.graph, design.input, design.output
    result = reference.outputs(graph, image)[0]
    rate, memory = plan.clock_hz / plan.interval_cycles, -(-plan.memory_bits // 8)
    mhz = f"{plan.clock_hz / 1e6:g}"
    last = out.bytes - (out.beats_per_pixel - 1) * out.beat_bytes
    host = ", ".join(map(shown, plan.on_host))
    words = {
        "NAME": shown(graph.name),
        "CHIP": shown(plan.chip) or "any",
        "PIXELS": into.pixels,
        "CHANNELS": into.bytes,
        "IN_BITS": 8 * into.bytes,
        "OUT_CHANNELS": graph.by_name[graph.outputs[0]].shape.channels,
        "BEATS": out.pixels * out.beats_per_pixel,
        "PER_PIXEL": out.beats_per_pixel,
        "WIDE": out.beat_bytes,
        "LAST": last,
        "STAGES": len(design.stages),
        "INTERVAL": plan.interval_cycles,
        "LATENCY": plan.latency_cycles,
        "HALF_NS": f"{5e8 / plan.clock_hz:.3f}",
        "MHZ": mhz,
        "RATE": f"{rate:,.1f}",
        "MULTIPLIERS": f"{plan.multipliers:,}",
        "PRODUCTS": f"{plan.elementwise_multipliers:,}",
        "RINGS": f"{len(design.rings):,}",
        "RING_VALUES": f"{plan.buffer_values:,}",
        "MEMORY": f"{memory:,}",
        "SYNTH": _synth(plan),
        "HOST": f"\nLeft to whoever reads the stream: {host}.\n" if host else "",
    }
    return {
        **design.files,
        "README.md": _filled("README.md", words),
        "Makefile": _filled("Makefile", words),
        "sim/testbench.v": _filled("testbench.v", words),
        "sim/input.hex": _hex(image, into),
        "sim/expected.hex": _hex(result, out),
        "constraints/top.xdc": f"create_clock -name aclk -period {1e9 / plan.clock_hz:.3f} [get_ports aclk]\n",
        "constraints/top.lpf": f'FREQUENCY PORT "aclk" {mhz} MHZ;\n',
        "constraints/top.pcf": f"set_frequency aclk {mhz}\n",
    }


def _synth(plan: PixelPlan) -> str:
    """The synthesis of yosys for a chip; AMD's UltraScale+ where none is given."""
    family = plan.machine.family if plan.machine is not None else None
    return (family or FAMILIES["xcup"]).synthesis


def _filled(name: str, words: Mapping[str, object]) -> str:
    """A file of this package with its `@WORDS@` filled in."""
    text = (files(__name__.rpartition(".")[0]) / name).read_text("utf-8")
    # In one pass: what is filled in may look like a word itself.
    return re.sub(r"@([A-Z_]+)@", lambda found: str(words[found[1]]), text)


def _hex(values: Array, port: Port) -> str:
    """A beat a line, the lowest channel last; a padded beat with zeros."""
    stored = np.ascontiguousarray(values).view(np.uint8).reshape(port.pixels, port.bytes)
    wide = np.zeros((port.pixels, port.beats_per_pixel * port.beat_bytes), np.uint8)
    wide[:, : port.bytes] = stored
    beats = wide.reshape(-1, port.beat_bytes)[:, ::-1]
    return "\n".join(row.tobytes().hex() for row in beats) + "\n"
