"""The question of source 003: does MicroBotNet classify a picture under 1 uJ, with which weights in which memories."""

from dataclasses import dataclass
from enum import StrEnum

from rillet.analyses.count import count
from rillet.analyses.energy import Schedule, WeightBits, energy
from rillet.analyses.memory import stored_as
from rillet.analyses.streamed import of_rows
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.targets.technology import DRAMS, MEMORIES, Technology
from rillet.transforms.fold import fold, without_weights

BUDGET_UJ = 1.0
TERNARY_ABOVE = 1000
"""The source quantises layers of more weights than this, but neither the first nor the head."""
TERNARY_BITS = 2


class Verdict(StrEnum):
    """Whether an energy with a band keeps within a budget."""

    YES = "yes"
    NO = "no"
    OPEN = "within the band"
    """The budget lies between the low and the high figure."""


def verdict(low_uj: float, high_uj: float) -> Verdict:
    """Where 1 uJ lies beside a band."""
    return Verdict.YES if high_uj < BUDGET_UJ else Verdict.NO if low_uj >= BUDGET_UJ else Verdict.OPEN


@dataclass(frozen=True, slots=True)
class Answer:
    """One width of weights in one memory; microjoules with their bands (low, value, high)."""

    weights: str
    weight_bits: float
    """Of all parameters, on the average."""
    weight_memory: str
    arithmetic_uj: tuple[float, float, float]
    once_uj: tuple[float, float, float]
    """Arithmetic, and every parameter read once: what the source's estimate leaves room for."""
    once_under: Verdict
    schedule: str
    image_uj: tuple[float, float, float]
    """All that `energy` counts under the schedule: activations, rescaling, and weights as often as they are read."""
    image_under: Verdict


@dataclass(frozen=True, slots=True)
class Chip:
    """A published chip that classifies CIFAR-10, as measured."""

    name: str
    node_nm: float
    uj: float
    top1_percent: float
    source: str


CHIPS = (
    Chip(
        name="binary CNN processor, mixed-signal",
        node_nm=28,
        uj=3.8,
        top1_percent=86,
        source="Bankman et al., ISSCC 2018, as source 003 quotes it: 237 images a second, 0.9 mW at 0.6 V, 328 kB SRAM",
    ),
    Chip(
        name="BinarEye, all digital",
        node_nm=28,
        uj=14.4,
        top1_percent=86,
        source="Moons et al., CICC 2018",
    ),
)


def ternary_layers(graph: Graph) -> tuple[str, ...]:
    """The layers whose weights the source made ternary: those of more than 1000 weights, but for stem and head."""
    convs = [node for node in graph.nodes if has_weights(node.op)]
    named = {layer.name: layer.weights for layer in count(graph).layers}
    return tuple(n.name for n in convs[1:] if named[n.name] > TERNARY_ABOVE and n.block != "head")


def source_003(graph: Graph, technology: Technology, plan: RowPlan | None = None) -> tuple[Answer, ...]:
    """A row for each width of weights and memory; `plan` is the row plan to stream by (made here where none is given).

    From memories on the chip the network streams; from DRAM it runs layer by layer. Raises TargetError where the
    technology lacks what is asked for.
    """
    plan = plan or plan_rows(stored_as(fold(without_weights(graph)), 8))
    ternary = dict.fromkeys(ternary_layers(graph), TERNARY_BITS)
    widths: tuple[tuple[str, int, WeightBits], ...] = (
        ("int32", 32, 32),
        ("int8", 8, 8),
        ("ternary as trained, else int8", 8, ternary),
        ("all ternary", 8, TERNARY_BITS),
    )
    memories = [name for name in MEMORIES if name in technology.entries]
    return tuple(
        _answer(graph, technology, plan, name, bits, said, memory) for name, bits, said in widths for memory in memories
    )


def _answer(
    graph: Graph, technology: Technology, plan: RowPlan, name: str, bits: int, said: WeightBits, memory: str
) -> Answer:
    schedule = Schedule.LAYERWISE if memory in DRAMS else Schedule.STREAM
    whole = energy(
        graph,
        technology,
        bits=bits,
        weight_bits=said,
        schedule=schedule,
        weight_memory=memory,
        plan=None if memory in DRAMS else of_rows(plan),
    )
    parts = [part for part in whole.parts if part.name in ("multiplications", "additions")]
    arithmetic = (sum(p.low_uj for p in parts), sum(p.uj for p in parts), sum(p.high_uj for p in parts))
    stored, parameters = _stored_bits(graph, bits, said)
    read = technology.access(memory, stored)
    once = tuple(a + pj / 1e6 for a, pj in zip(arithmetic, (read.low, read.pj, read.high), strict=True))
    return Answer(
        weights=name,
        weight_bits=stored / parameters if parameters else float(bits),
        weight_memory=memory,
        arithmetic_uj=arithmetic,
        once_uj=(once[0], once[1], once[2]),
        once_under=verdict(once[0], once[2]),
        schedule=schedule,
        image_uj=(whole.low_uj, whole.total_uj, whole.high_uj),
        image_under=verdict(whole.low_uj, whole.high_uj),
    )


def _stored_bits(graph: Graph, bits: int, said: WeightBits) -> tuple[int, int]:
    """Bits of all parameters, and their number; batch norms and biases are as wide as the operands."""
    counted = count(graph)
    total = counted.params * bits
    for layer in counted.layers:
        width = said if isinstance(said, int) else said.get(layer.name, bits)
        total += layer.weights * (width - bits)
    return total, counted.params
