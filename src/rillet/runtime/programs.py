"""A program of any machine that runs one here: in this process, or in Node."""

from typing import TYPE_CHECKING

from rillet.runtime.run import Built, Program, build
from rillet.runtime.wasm.program import SUFFIX, WasmProgram

if TYPE_CHECKING:
    from rillet.plan.rows.plan import RowPlan

AnyProgram = Program | WasmProgram


def program_of(made: "RowPlan | Built", trace: bool = False) -> AnyProgram:
    """The program of a plan, compiled, or of what was compiled already; with `trace`, it shows every value."""
    built = made if isinstance(made, Built) else build(made, trace)
    return WasmProgram(built) if built.library.suffix == SUFFIX else Program(built, trace)
