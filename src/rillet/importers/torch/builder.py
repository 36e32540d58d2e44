"""Builds drafts from aten calls: the graph's view of each tensor, and checks of arguments."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from rillet.errors import RilletError, Unsupported
from rillet.importers.axes import Dim, Dims, axes_of, merged, written
from rillet.importers.torch.drafts import Draft, LowPad, Scale, assemble, input_name
from rillet.importers.torch.layouts import as_map, repeats
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Activate, Activation, Add, ArgMax, Conv, Input, Multiply, Op, Pad, Pool, output_shape
from rillet.ir.types import Shape

Border = tuple[int, int, int, int]
"""Top, bottom, left, right."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that the network computes: a draft's map in some layout."""

    draft: str
    dims: Dims


Result = Value | tuple[Value | None, ...]
"""What an operator gives: one tensor, or several; None stands for one that nothing may read."""


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """A tensor that is known without the network: a parameter, a buffer, or what follows from them."""

    tensor: torch.Tensor
    layer: str = ""
    """Path of the submodule that holds it."""
    source: Hashable = None
    """The parameters and buffers that it follows from, by their places in memory; None where there are none."""

    @property
    def array(self) -> Array:
        """A copy of its values as float32."""
        return self.tensor.detach().to("cpu", torch.float32).numpy().copy()


@dataclass(frozen=True, slots=True)
class Call:
    """One aten call."""

    name: str
    """In full, with its overload: `aten.conv2d.default`."""
    op: str
    """The name alone, also of the form that works in place: `relu` for `relu_`."""
    arguments: Mapping[str, Any]
    """By the names in its schema: Values, Knowns, numbers, lists of them."""
    layer: str
    """Path of the submodule that makes the call."""
    sizes: tuple[int, ...]
    """Of the result, where it is one tensor."""

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def get(self, key: str) -> Any:
        """An argument, or None where this overload has none of the name."""
        return self.arguments.get(key)


ARGUMENTS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
"""Where an array of a node is not called as the argument is that it comes from."""


def added(one: Border, other: Border) -> Border:
    """Two borders, one within the other."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


class Builder:
    """The drafts so far. Handlers of operators read from it and add to it."""

    def __init__(self, name: str, inputs: Sequence[Shape], keep: Graph | None) -> None:
        self.name = name
        self.keep = keep
        """The graph that the module was made of: then a node is all that a submodule does, and has its path as name."""
        self.drafts: dict[str, Draft] = {input_name(i): Draft(Input(), (), shape, "") for i, shape in enumerate(inputs)}
        self.constants: dict[tuple[Known, Shape, Dims], str] = {}

    def refuse(self, call: Call, message: str) -> Unsupported:
        """An Unsupported about a call."""
        return Unsupported(f"{self.name}: {call.layer or 'forward'}: {call.name} {message}")

    # -- arguments -------------------------------------------------------------------------------------------------

    def value(self, call: Call, key: str) -> Value:
        """An argument that the network computes, each value of it once."""
        value = call[key]
        if not isinstance(value, Value):
            raise self.refuse(call, f"must have a computed {key}, got a constant")
        if repeats(value.dims):
            raise self.refuse(call, "must not read an expanded value")
        return value

    def map(self, call: Call, key: str) -> Value:
        """A computed argument of 1xCxHxW."""
        value = self.value(call, key)
        if value.dims != as_map(self.shape(value)):
            raise self.refuse(call, f"must read a map of 1xCxHxW, got {self.described(value)}")
        return value

    def by_channel(self, call: Call, value: Value) -> Value:
        """The value, of which dimension 1 must be that of the channels, as in 1xCxHxW."""
        if len(value.dims) > 1 and value.dims[1] == self.channels(value):
            return value
        raise self.refuse(call, f"must have the channels as dimension 1, got {self.described(value)}")

    def channels(self, value: Value) -> Dim:
        """What a dimension is that has all channels of a value and nothing else."""
        return tuple(filter(None, [axes_of(self.shape(value)).get("C")]))

    def array(self, call: Call, key: str) -> Array | None:
        """An argument that is known beforehand; None where there is none."""
        known = call[key]
        if known is None:
            return None
        if not isinstance(known, Known):
            raise self.refuse(call, f"must have a constant {key}, got a computed one")
        return known.array

    def shape(self, value: Value) -> Shape:
        """Shape of the map that a value is."""
        return self.drafts[value.draft].shape

    def described(self, value: Value) -> str:
        """A value's layout, for messages."""
        return f"{written(value.dims, self.shape(value))} of {self.shape(value)}"

    # -- drafts ----------------------------------------------------------------------------------------------------

    def op(self, call: Call, name: str) -> Op | Scale | LowPad | None:
        """What a draft does; None where it must stay a node of its own, which `call` cannot be joined with."""
        draft = self.drafts[name]
        return draft.op if self.keep is None or draft.layer == call.layer else None

    def add(
        self,
        call: Call,
        op: Op | Scale | LowPad,
        inputs: Sequence[str],
        dims: Dims | None = None,
        params: Mapping[str, Array] | None = None,
    ) -> Value:
        """A draft, and its value in the layout `dims`, or else as a map of 1xCxHxW."""
        shapes = tuple(self.drafts[name].shape for name in inputs)
        if any(isinstance(self.drafts[name].op, ArgMax) for name in inputs):
            raise self.refuse(call, "must not compute with the places that argmax found")
        try:
            match op:
                case Scale():
                    shape = shapes[0]
                case LowPad(padding=padding):
                    shape = output_shape(Pad(padding), shapes, shapes[0])
                case _:
                    shape = output_shape(op, shapes, shapes[0])
        except RilletError as error:
            raise self.refuse(call, f"has no place in a graph: {error}") from None
        name = f"n{len(self.drafts)}"
        arguments = {key: call.get(ARGUMENTS.get(key, key)) for key in params or {}}
        made_of = {key: known.source for key, known in arguments.items() if isinstance(known, Known) and known.source}
        self.drafts[name] = Draft(op, tuple(inputs), shape, call.layer, params or {}, made_of)
        return Value(name, as_map(shape) if dims is None else dims)

    def activate(self, call: Call, value: Value, activation: Activation) -> Value:
        """An activation of each value; where names are kept, part of the op before it in its submodule."""
        draft, op = self.drafts[value.draft], self.op(call, value.draft)
        if self.keep is not None and isinstance(op, Conv | Pool | Add | Multiply):
            made = self.add(call, replace(op, activation=activation), draft.inputs, value.dims, draft.params)
            self.drafts[made.draft] = replace(self.drafts[made.draft], made_of=draft.made_of)
            return made
        return self.add(call, Activate(activation), [value.draft], value.dims)

    def unpadded(self, call: Call, value: Value, kind: type[Pad] | type[LowPad]) -> tuple[str, Border]:
        """The draft before the borders around a value, and how wide they are together."""
        at, total = value.draft, (0, 0, 0, 0)
        while isinstance(op := self.op(call, at), kind):
            total = added(total, op.padding)
            at = self.drafts[at].inputs[0]
        return at, total

    def number(self, value: Any) -> float | None:
        """An operand that is one number for all values; None where it is not."""
        if isinstance(value, Known) and value.tensor.numel() == 1 and value.tensor.ndim < 4:
            return float(value.tensor)
        return float(value) if isinstance(value, int | float) else None

    # -- the graph -------------------------------------------------------------------------------------------------

    def finish(self, outputs: Sequence[Value]) -> Graph | None:
        """The graph that gives `outputs`; None where names were to be kept and do not fit what the submodules do."""
        for value in outputs:
            flat = merged(axis for dim in value.dims for axis in dim)
            mixed = any(len({axis.of for axis in dim}) > 1 for dim in value.dims)
            if mixed or flat != tuple(axes_of(self.shape(value)).values()):
                raise Unsupported(f"{self.name}: output must be a map or a vector, got {self.described(value)}")
        return assemble(self.name, self.drafts, tuple(value.draft for value in outputs), self.keep)
