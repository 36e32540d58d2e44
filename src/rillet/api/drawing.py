"""Pictures of networks and plans, as SVG documents."""

from os import PathLike

from rillet.api import checks
from rillet.api.backends import Plan, backend_of
from rillet.errors import TargetError
from rillet.ir.graph import Graph
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan


class Svg(str):
    """A picture as an SVG document, which notebooks show."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The document."""
        return str(self)

    def save(self, path: "str | PathLike[str]") -> None:
        """Writes the document; raises BuildError where it cannot be written."""
        from rillet.system.files import write_file

        write_file(checks.path(path, "path"), self.encode())

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Svg({len(self):,} characters)"


def draw(what: Graph | RowPlan | PixelPlan, *, floor: bool = False) -> Svg:
    """Draws a network as blocks sized by channels and resolution; a processor's plan as its segments and where each
    value lies in memory; a chip's plan as the timeline of two images, or, with `floor`, as what each layer takes of its
    DSP blocks, block RAMs and look-up tables, by the plan's estimate.

    Raises TargetError for a floor of another than a plan of hardware for a chip whose family of FPGAs is known.

    >>> import rillet
    >>> rillet.draw(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0,classes=10")).startswith("<svg")
    True
    """
    from rillet.report import draw as pictures

    if floor:
        from rillet.api.synthesis import machine_of
        from rillet.report import floor as floors

        plan = checks.pixel_plan(what)
        if plan.pipeline is None:
            raise TargetError("plan must be of hardware to say what takes its chip, got the ideal")
        return Svg(floors.svg(plan, machine_of(plan)[1]))
    if isinstance(what, Plan):
        return Svg(backend_of(what).draw())
    return Svg(pictures.svg(checks.graph(what, "what is drawn")))


def draw_front(net: Graph) -> Svg:
    """Plots the Pareto front of a network: values buffered on chip against MACs, over subsets of blocks with
    bottleneck buffering.
    """
    from rillet.analyses.sources.narrow import narrow
    from rillet.report.sources import front

    return Svg(front.svg(narrow(checks.graph(net))))
