"""The context struct of an emitted program, owned by the caller: the arena's address, and pixel counters."""

from rillet.backends.c.image import borrows_image, reads_pushed
from rillet.backends.c.threads import last_fields
from rillet.plan.rows.order import number_type
from rillet.plan.rows.plan import Kernel, RowPlan


def state_type(plan: RowPlan) -> str:
    """The C type of what the functions of the schedule take as `self`: the context, or one thread's part of it."""
    return "net_context" if plan.threads == 1 else "net_thread"


def pooled(plan: RowPlan) -> list[str]:
    """Names of the stages that count accumulated pixels: global pools."""
    return [s.node for g in plan.segments for s in g.stages if s.kernel is Kernel.GLOBAL_POOL]


def gathers_rows(plan: RowPlan) -> bool:
    """True where threads wait for several pushed rows at a time."""
    return plan.threads > 1 and plan.segments[0].tile_rows > 1 and not plan.resident


def _counters(plan: RowPlan) -> list[str]:
    """Fields that count pixels."""
    pools = pooled(plan)
    lines = ["  struct { /* pixels of each value computed so far */"]
    lines += [f"    int32_t of_{node.name};" for node in plan.graph.nodes]
    lines += ["  } made;"]
    if pools:
        lines += ["  struct { /* pixels that each global pool has accumulated */"]
        lines += [*(f"    int32_t of_{name};" for name in pools), "  } taken;"]
    order = plan.order
    if order.joints:
        lines.append(
            f"  {number_type(order)} came[{order.joints}]; /* where each joint of the schedule goes back to */"
        )
    return lines


def context_bytes(plan: RowPlan) -> int:
    """Bytes of the context of a program without threads, where addresses have 4 bytes."""
    addresses, order = 1 + reads_pushed(plan) + borrows_image(plan), plan.order
    joints = order.joints * (1 if number_type(order) == "uint8_t" else 2)
    return 4 * (addresses + len(plan.graph.nodes) + len(pooled(plan)) + -(-joints // 4))


def stages_of(plan: RowPlan) -> int:
    """How many stages a program has."""
    return sum(len(segment.stages) for segment in plan.segments)


def _measures(profile: bool) -> list[str]:
    """Fields of a program that counts its time, and of one that shows its values."""
    lines: list[str] = []
    if profile:
        lines += [
            "  struct { /* of each stage; the last are those of what is between */",
            "    uint64_t ticks[NET_STAGES + 1], calls[NET_STAGES + 1];",
            "    uint64_t since; /* when the time of stage `at` began */",
            "    uint32_t at;",
            "  } profile;",
        ]
    trace = "  uint8_t *trace[NET_VALUES]; /* full tensors of the caller's; null ones are not filled */"
    return [*lines, "#ifdef NET_TRACE", trace, "#endif"]


def context_lines(plan: RowPlan, profile: bool) -> list[str]:
    """The types, for the header."""
    measures = _measures(profile)
    image: list[str] = []
    if reads_pushed(plan):
        image.append("  const net_input_t *pushed; /* the row being pushed, in the caller's memory */")
    if borrows_image(plan):
        image.append("  const net_input_t *borrowed; /* zero-copy input of net_run; null while rows are pushed */")
    head = [
        "/* State of one inference; contexts are independent of each other. The fields are private. */",
    ]
    if plan.threads == 1:
        return [*head, "typedef struct {", "  uint8_t *arena;", *image, *_counters(plan), *measures, "} net_context;"]
    last = last_fields(plan)
    return [
        "/* State of one thread. */",
        "typedef struct {",
        "  struct net_context *net;",
        "  uint8_t *arena;",
        "  rillet_place place;",
        *_counters(plan),
        *(["  struct { /* last firings that wrote or read shared values */"] if last else []),
        *(f"    uint64_t {field};" for field in last),
        *(["  } last;"] if last else []),
        "} __attribute__((aligned(64))) net_thread;",
        "",
        *head,
        "typedef struct net_context {",
        "  net_thread threads[NET_THREADS]; /* the first is the caller's */",
        "  rillet_progress progress[NET_THREADS];",
        "  rillet_gate gate;",
        "  rillet_crew crew;",
        "  uint8_t *arena;",
        *image,
        *(["  int32_t gathered; /* rows of the next tile that have arrived */"] if gathers_rows(plan) else []),
        "  struct net_context *next; /* of those whose threads run */",
        *measures,
        "} net_context;",
    ]
