"""The proof on an emulated core: a program gives the reference's bytes there, and what it takes is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rillet.backends import reference
from rillet.backends.c.footprint import footprint
from rillet.runtime.emulator import run
from rillet.runtime.run import checked_inputs, values_of
from rillet.runtime.verify import Difference, first_difference, random_given
from rillet.system.record import Record
from rillet.targets.cores import Core

if TYPE_CHECKING:
    from rillet.plan.rows.plan import RowPlan


NEAR = 0.05
"""The share by which instructions may differ from those planned."""


@dataclass(frozen=True, repr=False)
class CoreVerification(Record):
    """What was compared on an emulated core, and what the program took of it; numbers are those of one image."""

    equal: bool
    inputs: int
    wrong: int
    """Output values that are not the reference's, all inputs together."""
    instructions: int
    """Of the input that took the most."""
    ram_bytes: int
    """.data and .bss: the arena and the context."""
    stack_bytes: int
    flash_bytes: int
    """Code and constants."""
    flash_read_bytes: int
    core: str
    emulator: str
    compiler: str
    first_difference: Difference | None
    planned_instructions: int | None
    planned_ram_bytes: int | None
    planned_stack_bytes: int | None
    """A bound."""
    planned_flash_bytes: int | None
    planned_flash_read_bytes: int | None

    @property
    def as_planned(self) -> bool | None:
        """True where RAM, stack and flash are no more than planned, and instructions those planned but for NEAR of
        them; None where the plan does not tell, as for portable kernels.
        """
        ram, flash, count = self.planned_ram_bytes, self.planned_flash_bytes, self.planned_instructions
        if ram is None or flash is None or count is None:
            return None
        near = abs(self.instructions - count) <= NEAR * count
        return near and self.stack_bounded and self.ram_bytes <= ram and self.flash_bytes <= flash

    @property
    def stack_bounded(self) -> bool:
        """False where it took more stack than the plan's bound."""
        return self.planned_stack_bytes is None or self.stack_bytes <= self.planned_stack_bytes

    @property
    def passed(self) -> bool:
        """True for the reference's bytes within the plan's bound of stack, which callers rely on."""
        return self.equal and self.stack_bounded

    def __repr__(self) -> str:
        if self.first_difference is not None:
            return f"CoreVerification(different, {self.first_difference})"
        return (
            f"CoreVerification(equal, {self.core}, {self.inputs} inputs, {self.instructions:,} instructions, "
            f"{self.ram_bytes:,} bytes of RAM)"
        )


def verify_on(
    plan: "RowPlan", core: Core, inputs: int, progress: Callable[[int], None] = lambda _: None
) -> CoreVerification:
    """Compares the program on an emulated core with the reference, on `inputs` seeded inputs, one after another.

    Raises BuildError where it cannot be built, faults or does not end; Unsupported where a tool is missing.
    """
    graph = plan.graph
    planned = None if plan.board is None else footprint(plan, plan.board)
    images = list(random_given(graph, inputs))
    made = run(plan, core, [checked_inputs(graph, image) for image in images])
    first: Difference | None = None
    wrong = 0
    for i, (image, flat) in enumerate(zip(images, made.outputs, strict=True)):
        nodes = [graph.by_name[name] for name in dict.fromkeys(graph.outputs)]
        computed = reference.run(graph, image)
        expected = {node.name: computed[node.name] for node in nodes}
        got = {node.name: values_of(node, array) for node, array in zip(nodes, flat, strict=True)}
        found = first_difference(graph, expected, got, i, core.name)
        if found is not None:
            first = first or found
            wrong += sum(int(np.count_nonzero(got[name] != want)) for name, want in expected.items())
        progress(i + 1)
    return CoreVerification(
        equal=first is None,
        inputs=inputs,
        wrong=wrong,
        instructions=made.instructions,
        ram_bytes=made.ram_bytes,
        stack_bytes=made.stack_bytes,
        flash_bytes=made.flash_bytes,
        flash_read_bytes=made.flash_read_bytes,
        core=made.core,
        emulator=made.emulator,
        compiler=made.compiler,
        first_difference=first,
        planned_instructions=None if planned is None else planned.instructions,
        planned_stack_bytes=None if planned is None else planned.stack_bytes,
        planned_ram_bytes=None if planned is None else planned.ram_bytes,
        planned_flash_bytes=None if planned is None else planned.flash_bytes,
        planned_flash_read_bytes=None if planned is None else planned.flash_read_bytes,
    )
