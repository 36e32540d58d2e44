"""Options of a plan, the kind of plan that they select, and which options apply to each kind."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from rillet.errors import TargetError
from rillet.plan.host.tilings import has_pairs, no_pairs
from rillet.system.options import Uses, is_said
from rillet.targets import pipeline
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Target
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host, few_cores
from rillet.targets.pipeline import Pipeline


class PlanKind(StrEnum):
    """What a plan is for, in words."""

    MEMORY = "a processor"
    """Row plan with the least memory, or the least time within it."""
    SPEED = "--target host, or one with its kernels named, as avx512"
    BOARD = "a board (--target, as nano33ble)"
    """Row plan within the RAM of a board."""
    CHIP = "a chip (--target, --multipliers, --interval or --memory)"


_PROCESSOR = ("--ram", "--resident", "--max-slowdown")
USES = Uses(
    {
        PlanKind.MEMORY: (*_PROCESSOR, "--objective"),
        PlanKind.SPEED: (*_PROCESSOR, "--threads", "--precision"),
        PlanKind.BOARD: ("--ram", "--resident", "--objective"),
        PlanKind.CHIP: (
            "--multipliers",
            "--interval",
            "--memory",
            "--clock",
            "--bits",
            "--ceil",
            "--recompute",
            "--devices",
            "--ideal",
        ),
    },
    TargetError,
)


_IDEAL_ALONE = {
    "--bits": "hardware has values of 8 bits",
    "--ceil": "hardware has foldings of its own, which need not divide",
    "--recompute": "hardware computes each pixel once",
    "--devices": "hardware is of one chip",
}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Options of a plan, None where not given; raises TargetError for what its kind has no use for."""

    target: Target | None = None
    """A host, for speed; a board; or a chip."""
    ram_bytes: int | None = None
    objective: str | None = None
    """`memory` (the default) or `time`."""
    resident: bool = False
    slower: float | None = None
    """Minimise memory within so many percent over the fastest plan's estimated time."""
    threads: int | None = None
    precision: str | None = None
    """What dense layers of float32 multiply on a host: `f32` (the default) or `bf16`."""
    multipliers: int | None = None
    interval: int | None = None
    memory_bits: int | None = None
    clock_hz: float | None = None
    bits: int | None = None
    """Of weights and activations on a chip: 8 (the default) or 16."""
    ceil: bool = False
    narrow: tuple[str, ...] = ()
    several: int | None = None
    """Chips in series over which the pipeline is partitioned."""
    ideal: bool = False
    """Of a chip, the plan whose results take no time and whose rings are shared: what no hardware has."""
    here: bool = False
    """For a program of this machine: of a board, with portable kernels instead of its core's."""

    def __post_init__(self) -> None:
        said = {
            "--ram": self.ram_bytes,
            "--objective": self.objective,
            "--resident": self.resident,
            "--max-slowdown": self.slower,
            "--threads": self.threads,
            "--precision": self.precision,
            "--multipliers": self.multipliers,
            "--interval": self.interval,
            "--memory": self.memory_bits,
            "--clock": self.clock_hz,
            "--bits": self.bits,
            "--ceil": self.ceil,
            "--recompute": self.narrow,
            "--devices": self.several,
            "--ideal": self.ideal,
        }
        USES.check(self.kind, said)
        if self.pipeline is not None:
            for option, why in _IDEAL_ALONE.items():
                if is_said(said[option]) and (option, self.bits) != ("--bits", 8):
                    raise TargetError(f"{option} must come with --ideal: {why}")
        if self.precision not in (None, "f32", "bf16"):
            hint = ": rillet quantize makes a network of integers" if self.precision == "int8" else ""
            raise TargetError(f"--precision must be f32 or bf16, got {self.precision!r}{hint}")
        if self.objective not in (None, "memory", "time"):
            raise TargetError(f"--objective must be memory or time, got {self.objective!r}")
        if self.slower is not None and (self.ram_bytes is not None or self.objective not in (None, "memory")):
            raise TargetError(
                "--max-slowdown must come without --ram and --objective time: it bounds the time, not the memory"
            )

    @property
    def kind(self) -> PlanKind:
        """What the plan is for; raises TargetError for a machine that nothing is planned for."""
        match self.target:
            case None:
                budgets = (self.multipliers, self.interval, self.memory_bits)
                return PlanKind.CHIP if any(budget is not None for budget in budgets) else PlanKind.MEMORY
            case Host():
                return PlanKind.SPEED
            case Board():
                return PlanKind.BOARD
            case StreamChip():
                return PlanKind.CHIP
            case ArrayMachine(name=name):
                raise TargetError(f"{name}: must be a host, a board or a chip to be planned for, got a systolic array")
            case _ as other:
                assert_never(other)

    @property
    def bf16(self) -> bool:
        """Whether dense layers are to multiply in bfloat16, where their host can."""
        return self.precision == "bf16"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is asked for and will not be so; sentences."""
        host, said = self.target, list[str]()
        if not isinstance(host, Host):
            return ()
        if self.bf16 and not has_pairs(host):
            said.append(no_pairs(host))
        if self.threads is not None and "cores" in host.given and self.threads > host.cores:
            said.append(few_cores(host.name, host.cores, self.threads))
        return tuple(said)

    @property
    def chip(self) -> StreamChip | None:
        """The chip, where one is named."""
        return self.target if isinstance(self.target, StreamChip) else None

    @property
    def pipeline(self) -> Pipeline | None:
        """What the stages of a chip take as hardware: the chip's own, or Rillet's; None for the ideal plan."""
        if self.kind is not PlanKind.CHIP or self.ideal:
            return None
        return self.chip.pipeline if self.chip is not None else pipeline.default()

    @property
    def slower_share(self) -> float | None:
        """`slower` as a share of the least estimated time."""
        return None if self.slower is None else self.slower / 100
