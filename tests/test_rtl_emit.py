"""A pixel plan as Verilog: its files, and what has no hardware."""

import numpy as np
import pytest

from rillet.backends.rtl.emit import design
from rillet.backends.rtl.memories import words
from rillet.backends.rtl.names import identifiers
from rillet.errors import Unsupported
from rillet.plan.pipeline.entry import plan_pixels
from rillet.targets import pipeline
from rillet.zoo.registry import build


def test_words_are_packed_from_the_lowest_bit() -> None:
    assert words((np.array([[1, -1], [2, 3]]), 8)) == "ff01\n0302\n"
    assert words((np.array([[1], [-1]]), 3), (np.array([[2], [1]]), 2)) == "11\n0f\n"


def test_names_differ_in_more_than_case() -> None:
    assert identifiers(["a.b", "A_b", "", "module"]) == {"a.b": "a_b", "A_b": "A_b_2", "": "v", "module": "module"}


def test_floats_are_to_be_quantised_first() -> None:
    plan = plan_pixels(build("microbotnet", {"width": "0.32"}), interval=4096, pipeline=pipeline.default())
    with pytest.raises(Unsupported, match="quantise first: rillet quantize"):
        design(plan)
