"""The ink of charts: the colours of layers, as in the picture of a network, and lines of axes and roofs."""

from rillet.report.draw import COLOURS
from rillet.report.picture.ink import Ink

INK = Ink(
    "chart",
    COLOURS,
    {
        "grid": ("soft", ' stroke-width="0.5" stroke-opacity="0.35"'),
        "roof": ("ink", ' stroke-width="1.6"'),
        "need": ("ink", ' stroke-width="1.2" stroke-dasharray="5 4"'),
        "band": ("ink", ' stroke-width="1.2"'),
    },
)
