"""The schedule of an emitted program in C: its table of steps, and the loop over them."""

from rillet.backends.c.context import state_type
from rillet.backends.c.threads import parameter
from rillet.plan.rows.order import BACK, END, number_type
from rillet.plan.rows.plan import RowPlan, Segment


def try_stages(plan: RowPlan, segment: Segment) -> str:
    """The C call that lets a segment's stages fire, after its driver has advanced."""
    return f"try_stages(self, {plan.order.begins[segment.stages[0].node]});"


def _clocks(plan: RowPlan, stages: list[int]) -> tuple[list[str], list[str], list[str]]:
    """The stage of each step, and what is before and behind its call; only the caller's thread reads the clock."""
    profile, own = ("self->profile", "") if plan.threads == 1 else ("self->net->profile", "if (self->place.part == 0) ")
    table = f"static const uint16_t profile_stages[] = {{{', '.join(map(str, stages))}}};"
    before = f"    {own}RILLET_CALLED({profile}, profile_stages[at]);"
    return [table], [before], [f"    {own}RILLET_TIME_OF({profile}, NET_STAGES);"]


def loop(plan: RowPlan, profile: bool) -> str:
    """The table of steps, and the loop."""
    order, state = plan.order, state_type(plan)
    number, end, back = number_type(order), len(order.steps), len(order.steps) + 1
    place = {END: end, BACK: back}
    indices = {s.node: i for i, s in enumerate(s for segment in plan.segments for s in segment.stages)}
    rows = [f"  {{fire_{s.stage}, {s.fired}, {place.get(s.idle, s.idle)}, {s.joint}}}," for s in order.steps]
    stages, before, after = _clocks(plan, [indices[step.stage] for step in order.steps]) if profile else ([], [], [])
    fired = [f"      if (step->joint && step->idle != {back}) self->came[step->joint - 1] = step->idle;"]
    idle = [f"      if (at == {back}) at = self->came[step->joint - 1];"]
    return "\n".join(
        [
            "/* The schedule, depth first, without calls that nest: each step tries a stage, and leads to another, one",
            f"   after a tile and one when the stage cannot make any ({end} at the end). A joint, which several values",
            f"   lead to, remembers the latter after a tile; {back} goes back there. */",
            "typedef struct {",
            f"  int32_t (*fire)({state} *self); /* makes a tile, or returns 0 */",
            f"  {number} fired, idle, joint;",
            "} net_step;",
            "static const net_step steps[] = {",
            *rows,
            "};",
            *stages,
            "",
            f"static void try_stages({parameter(plan)}, uint32_t at)",
            "{",
            "  do {",
            "    const net_step *const step = steps + at;",
            *before,
            "    const int32_t fired = step->fire(self);",
            *after,
            "    if (fired) {",
            *(fired if order.joints else []),
            "      at = step->fired;",
            "    } else {",
            "      at = step->idle;",
            *(idle if order.joints else []),
            "    }",
            f"  }} while (at != {end});",
            "}",
            "",
        ]
    )
