"""What may be asked of a plan, which kind of plan that makes, and what each kind has no use for."""

from dataclasses import dataclass
from enum import StrEnum

from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.ir.ops import BatchNorm
from rillet.plan.host.planner import plan_host
from rillet.plan.pipeline.devices import Device
from rillet.plan.pipeline.entry import plan_pixels, plan_several
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.system.options import Uses
from rillet.targets.catalogue import load, need
from rillet.targets.chips import StreamChip
from rillet.targets.host import KERNELS, named_host
from rillet.transforms.fold import fold


class PlanKind(StrEnum):
    """What a plan is for, in words."""

    MEMORY = "a processor"
    """Row plan with the least memory, or the least time within it."""
    SPEED = "--target host, or one with its kernels named, as avx512"
    CHIP = "a chip (--target, --multipliers, --interval or --memory)"


_PROCESSOR = ("--ram", "--resident", "--slower")
USES = Uses(
    {
        PlanKind.MEMORY: (*_PROCESSOR, "--objective"),
        PlanKind.SPEED: (*_PROCESSOR, "--threads"),
        PlanKind.CHIP: (
            "--multipliers",
            "--interval",
            "--memory",
            "--clock",
            "--bits",
            "--ceil",
            "--narrow",
            "--several",
        ),
    },
    TargetError,
)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is asked of a plan, None where nothing is said; raises TargetError for what its kind has no use for."""

    target: str | None = None
    """`host` or a kernel set, for speed; else a chip."""
    ram_bytes: int | None = None
    objective: str | None = None
    """`memory` (if not said) or `time`."""
    resident: bool = False
    slower: float | None = None
    """Percent that may be added to the least estimated time for less memory."""
    threads: int | None = None
    multipliers: int | None = None
    interval: int | None = None
    memory_bits: int | None = None
    clock_hz: float | None = None
    bits: int | None = None
    """Of weights and values on a chip: 8 (if not said) or 16."""
    ceil: bool = False
    narrow: tuple[str, ...] = ()
    several: int | None = None
    """Chips to cut it over."""

    def __post_init__(self) -> None:
        said = {
            "--ram": self.ram_bytes,
            "--objective": self.objective,
            "--resident": self.resident,
            "--slower": self.slower,
            "--threads": self.threads,
            "--multipliers": self.multipliers,
            "--interval": self.interval,
            "--memory": self.memory_bits,
            "--clock": self.clock_hz,
            "--bits": self.bits,
            "--ceil": self.ceil,
            "--narrow": self.narrow,
            "--several": self.several,
        }
        USES.check(self.kind, said)
        if self.slower is not None and (self.ram_bytes is not None or self.objective not in (None, "memory")):
            raise TargetError(
                "--slower must come without --ram and --objective time: it bounds the time, not the memory"
            )

    @property
    def kind(self) -> PlanKind:
        """What the plan is for."""
        if self.target in ("host", *KERNELS):
            return PlanKind.SPEED
        chip = (self.target, self.multipliers, self.interval, self.memory_bits)
        return PlanKind.CHIP if any(option is not None for option in chip) else PlanKind.MEMORY

    @property
    def chip(self) -> StreamChip | None:
        """The chip that is named; raises TargetError for one that there is not, and for a machine of another kind."""
        return need(load(self.target), (StreamChip,), "a pipeline", self.target) if self.target is not None else None


def folded(graph: Graph) -> Graph:
    """The graph as it is planned: its batch norms folded."""
    return fold(graph) if any(isinstance(node.op, BatchNorm) for node in graph.nodes) else graph


def make_plan(graph: Graph, said: PlanOptions) -> RowPlan:
    """The row plan of a graph, its batch norms folded; for speed where a host is named.

    Raises TargetError for a chip, and for what cannot be met; Unsupported where a node has no kernel.
    """
    graph = folded(graph)
    share = None if said.slower is None else said.slower / 100
    if said.kind is PlanKind.CHIP:
        raise TargetError(f"{graph.name}: must be planned for a processor here, got options of a chip")
    if said.kind is PlanKind.SPEED:
        assert said.target is not None
        threads = 1 if said.threads is None else said.threads
        host = named_host(said.target)
        return plan_host(graph, host, ram_bytes=said.ram_bytes, resident=said.resident, slower=share, threads=threads)
    return plan_rows(
        graph,
        ram_bytes=said.ram_bytes,
        objective=said.objective or "memory",
        resident=said.resident,
        slower=share,
    )


def make_pixels(graph: Graph, said: PlanOptions) -> tuple[PixelPlan, tuple[Device, ...] | None]:
    """The pipeline on a chip, and its cut where it goes over several; raises as `plan_pixels` and `plan_several` do."""
    if said.several is None:
        return plan_pixels(
            graph,
            interval=said.interval,
            multipliers=said.multipliers,
            memory_bits=said.memory_bits,
            chip=said.chip,
            clock_hz=said.clock_hz,
            weight_bits=said.bits or 8,
            ceil=said.ceil,
            narrow=said.narrow,
        ), None
    return plan_several(
        graph,
        said.several,
        interval=said.interval,
        multipliers=said.multipliers,
        memory_bits=said.memory_bits,
        chip=said.chip,
        clock_hz=said.clock_hz,
        weight_bits=said.bits or 8,
        ceil=said.ceil,
        narrow=said.narrow,
    )
