"""A trained network that another learns from (Hinton et al. 2015, arXiv:1503.02531), run as its emitted C.

It is shown the very bytes that the learner is shown, changed as they are (Beyer et al. 2021, arXiv:2106.05237), brought
to its own size and scale by its own contract: any resolution, float32 or quantised.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from rillet.arithmetic.pictures import pixel_values
from rillet.data.datasets import Dataset
from rillet.data.images import contract
from rillet.errors import GraphError
from rillet.ir.graph import Array, Graph
from rillet.plan.choose import row_plan_for
from rillet.plan.options import PlanOptions
from rillet.runtime.programs import program_of
from rillet.targets import host
from rillet.train.start import logits


class Teacher:
    """What a network says of pictures: `teacher(pixels)` has its outputs before a softmax, safe from several threads.

    Raises GraphError for a network that does not name the classes of the data, or has no weights; Unsupported for one
    whose input is no picture; BuildError where there is no C compiler.
    """

    def __init__(self, graph: Graph, data: Dataset) -> None:
        self.graph = logits(graph)
        self.spec = contract(graph)
        _check(graph, data)
        self._input = graph.input_nodes[0].type
        self._output = self.graph.by_name[self.graph.outputs[0]].type
        plan = row_plan_for(self.graph, PlanOptions(target=host.load("host"), threads=1))
        self._program = program_of(plan)
        stored = self._input
        self._tables = None if stored.quant is None else pixel_values(self.spec, stored).astype(stored.dtype.numpy)
        """The stored value of each level of a pixel: a row a channel, or one for all."""

    def __call__(self, pixels: Array) -> npt.NDArray[np.float32]:
        """N x classes for bytes of N x height x width x channels, of any height and width."""
        (made,) = self._program.run_batch(self.inputs(pixels))
        values = made.reshape(len(pixels), -1).astype(np.float32)
        quant = self._output.quant
        return values if quant is None else (values - quant.zero_point) * np.float32(quant.scale)

    def inputs(self, pixels: Array) -> Array:
        """Its inputs for such bytes: resized as `rillet evaluate` resizes pictures, the whole of each."""
        spec = self.spec
        if spec.detail and min(pixels.shape[1:3]) > spec.detail:
            pixels = _resized(pixels, spec.detail, spec.detail)
        if pixels.shape[1:3] != (spec.height, spec.width):
            pixels = _resized(pixels, spec.height, spec.width)
        if self._tables is None:
            mean, deviation = (np.array(v, np.float32) for v in (spec.mean, spec.deviation))
            return (pixels.astype(np.float32) - mean) / deviation
        if len(self._tables) == 1:
            return _looked_up(pixels, self._tables[0])
        return np.stack([_looked_up(pixels[..., i], table) for i, table in enumerate(self._tables)], -1)


def _check(graph: Graph, data: Dataset) -> None:
    """Raises GraphError where a network cannot teach these classes."""
    where = f"--teacher {graph.name}"
    if not graph.params:
        raise GraphError(f"{where}: must have trained weights, got none")
    output = graph.by_name[graph.outputs[0]].shape
    if len(graph.outputs) != 1 or output.pixels != 1 or output.elements != len(data.classes):
        raise GraphError(f"{where}: must have the {len(data.classes)} classes of {data.name}, got {output}")
    for i, (its, wanted) in enumerate(zip(contract(graph).labels, data.classes, strict=False)):
        # Data without names have numbers.
        if its != wanted != f"class {i}":
            raise GraphError(f"{where}: class {i} must be {wanted}, as {data.name} has it, got {its}")


def _resized(pixels: Array, height: int, width: int) -> Array:
    """Bytes of another size, bilinear; larger ones are Pillow's to the byte, smaller ones within one."""
    value = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
    made = F.interpolate(value, (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy())


def _looked_up(pixels: Array, table: Array) -> Array:
    """A table's values at bytes; tables of bytes by Python's own translation, which is many times as fast as NumPy."""
    if table.itemsize != 1:
        return table.take(pixels.astype(np.intp))
    return np.frombuffer(pixels.tobytes().translate(table.tobytes()), table.dtype).reshape(pixels.shape)
