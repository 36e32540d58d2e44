"""Reads the calls of a traced module in order: each result, and the effect of in-place operations on others."""

import operator
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from rillet.errors import RilletError, Unsupported
from rillet.importers.supported import refuse_unknown
from rillet.importers.torch.builder import Builder, Call, Known, Result, Value
from rillet.importers.torch.drafts import input_name
from rillet.importers.torch.layouts import as_map, as_vector, repeats, sizes
from rillet.importers.torch.operators import HANDLERS
from rillet.ir.graph import Graph
from rillet.ir.ops import ArgMax
from rillet.ir.types import Shape

_RETURN_THEIR_INPUT = ("dropout", "feature_dropout")
"""Operators that give back the very tensor they read, though their schemas do not say so."""


class _Stale:
    """A tensor that has been changed in place, in part, through another one."""


def read(program: ExportedProgram, name: str, inputs: Sequence[Shape], keep: Graph | None) -> Graph | None:
    """The graph of a traced module, under the names of `keep`: None where they do not fit.

    Raises Unsupported for calls that a graph has no op for.
    """
    _check_kinds(program, name)
    reader = _Reader(Builder(name, inputs, keep))
    for node in program.graph.nodes:
        match node.op:
            case "placeholder":
                reader.take_input(program, node)
            case "call_function":
                reader.take_call(node)
            case _:
                reader.values[node] = None  # the branches of torch.cond, which no call of the table reads
    outputs = [reader.seen(value) for value in _flat(program.graph.output_node().args[0])]
    values = [value for value in outputs if isinstance(value, Value)]
    if not values or len(values) < len(outputs):
        raise Unsupported(f"{name}: must return computed tensors alone, got {len(outputs)} of which {len(values)} are")
    return reader.builder.finish(values)


def _check_kinds(program: ExportedProgram, name: str) -> None:
    """Raises Unsupported with all kinds of calls that a graph has no op for, of those that follow from the image."""
    signature = program.graph_signature
    constant = {*signature.inputs_to_parameters, *signature.inputs_to_buffers}
    constant |= {*signature.inputs_to_lifted_tensor_constants}
    computed: set[fx.Node] = set()
    calls: list[tuple[str, str]] = []
    known: set[str] = set()
    for node in program.graph.nodes:
        if (node.op == "placeholder" and node.name not in constant) or not computed.isdisjoint(node.all_input_nodes):
            computed.add(node)
        target = node.target
        if node.op != "call_function" or target is operator.getitem:
            continue
        kind, op, changes = str(target), "", False
        if isinstance(target, torch._ops.OpOverload):  # pyright: ignore[reportPrivateUsage]
            if node not in computed:
                continue
            schema = target._schema  # pyright: ignore[reportPrivateUsage]
            op, changes = schema.name.split("::")[1], schema.is_mutable
        if node.users or changes:
            calls.append((f"{name}: {_layer(node) or 'forward'}: {kind}", kind))
            if kind.startswith("aten.") and (op.removesuffix("_") if changes else op) in HANDLERS:
                known.add(kind)
    refuse_unknown(calls, known.__contains__, "calls", "torch")


class _Reader:
    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.values: dict[fx.Node, Any] = {}
        self.taken = 0
        """How many of the inputs were met."""
        self.memory: dict[fx.Node, fx.Node] = {}
        """For a tensor that is a view, or the result of a change in place, the one whose memory it has."""

    def seen(self, item: Any) -> Any:
        """An argument with what they are in place of nodes."""
        if isinstance(item, fx.Node):
            if isinstance(self.values[item], _Stale):
                layer = _layer(item) or "forward"
                raise Unsupported(
                    f"{self.builder.name}: {layer}: {item.name} must not be read after a view of it changed"
                )
            return self.values[item]
        return [self.seen(part) for part in item] if isinstance(item, list | tuple) else item

    def take_input(self, program: ExportedProgram, node: fx.Node) -> None:
        """A parameter, a buffer, a constant, or the image."""
        signature = program.graph_signature
        for paths in (
            signature.inputs_to_parameters,
            signature.inputs_to_buffers,
            signature.inputs_to_lifted_tensor_constants,
        ):
            if path := paths.get(node.name):
                tensor = program.state_dict[path] if path in program.state_dict else program.constants[path]
                assert isinstance(tensor, torch.Tensor)
                place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset())
                self.values[node] = Known(tensor, path.rpartition(".")[0], place)
                return
        at, tensor = input_name(self.taken), node.meta["val"]
        shape = self.builder.drafts[at].shape
        self.taken += 1
        self.values[node] = Value(at, as_vector(shape) if tensor.ndim == 2 else as_map(shape))

    def take_call(self, node: fx.Node) -> None:
        """Part of a result, a constant, or an operator of the table."""
        if node.target is operator.getitem:
            whole, place = self.seen(node.args)
            self.values[node] = whole[place]
            self._views(node)
            return
        if not isinstance(node.target, torch._ops.OpOverload):  # pyright: ignore[reportPrivateUsage]
            return  # what a graph reads of it was refused
        schema = node.target._schema  # pyright: ignore[reportPrivateUsage]
        if not node.users and not schema.is_mutable:
            return
        call = self._call(node, schema)
        if not any(isinstance(argument, Value) for argument in _flat(list(call.arguments.values()))):
            self.values[node] = self._known(node, node.target, call)
            return
        handler = HANDLERS[call.op]
        if schema.is_mutable and isinstance(self.seen(node.args[0]), Known):
            raise self.builder.refuse(call, "must not change a constant in place")
        try:
            result = handler(self.builder, call)
        except RilletError as error:
            if str(error).startswith(f"{self.builder.name}: "):
                raise
            raise self.builder.refuse(call, f"has no place in a graph: {error}") from None
        self._check(node, call, result)
        self.values[node] = result
        if schema.returns[0].alias_info is not None or call.op in _RETURN_THEIR_INPUT:
            self._views(node)
        if schema.is_mutable:
            self._change(node, result)

    def _call(self, node: fx.Node, schema: torch.FunctionSchema) -> Call:
        arguments = {part.name: part.default_value for part in schema.arguments if part.has_default_value()}
        arguments |= {part.name: self.seen(item) for part, item in zip(schema.arguments, node.args, strict=False)}
        arguments |= {key: self.seen(item) for key, item in node.kwargs.items()}
        result = node.meta.get("val")
        shape = tuple(result.shape) if isinstance(result, torch.Tensor) else ()
        op = schema.name.split("::")[1]
        return Call(str(node.target), op.removesuffix("_") if schema.is_mutable else op, arguments, _layer(node), shape)

    def _known(self, node: fx.Node, target: Any, call: Call) -> Any:
        """The result of a call that needs nothing of the network."""
        if call.op == "detach":
            return call["self"]
        if torch.Tag.nondeterministic_seeded in target.tags:
            raise self.builder.refuse(call, "must not be random")
        if target._schema.is_mutable:
            raise self.builder.refuse(call, "must not change a constant in place")
        with torch.no_grad():
            result = target(*_plain(self.seen(node.args)), **_plain(self.seen(node.kwargs)))
        arguments = _flat(list(call.arguments.values()))
        return _wrapped(result, tuple(known.source for known in arguments if isinstance(known, Known) and known.source))

    def _check(self, node: fx.Node, call: Call, result: Result) -> None:
        """Refuses results of another type; and of other sizes than PyTorch gives, whatever the handler thought."""
        for tensor, value in zip(_flat(node.meta["val"]), _flat(result), strict=True):
            if value is None:
                continue
            if isinstance(self.builder.drafts[value.draft].op, ArgMax):
                if tensor.dtype not in (torch.int64, torch.int32):
                    got = str(tensor.dtype).removeprefix("torch.")
                    raise self.builder.refuse(call, f"must keep places of argmax as int64 or int32, got {got}")
            elif tensor.dtype != torch.float32:
                raise self.builder.refuse(call, f"must give float32, got {str(tensor.dtype).removeprefix('torch.')}")
            if sizes(value.dims) != tuple(tensor.shape) and not repeats(value.dims):
                raise self.builder.refuse(call, f"must give {list(tensor.shape)}, got {self.builder.described(value)}")

    def _views(self, node: fx.Node) -> None:
        source = node.args[0]
        if isinstance(source, fx.Node):
            self.memory[node] = self.memory.get(source, source)

    def _change(self, node: fx.Node, result: Result) -> None:
        """After a change in place the same tensor is the result, and other views of it can no longer be read."""
        changed = node.args[0]
        assert isinstance(changed, fx.Node)
        memory = self.memory.get(changed, changed)
        for other in list(self.values):
            if self.memory.get(other, other) is memory:
                self.values[other] = result if other in (changed, node) else _Stale()


def _layer(node: fx.Node) -> str:
    """Path of the submodule that makes a call; a second call of the same one is marked @1 by torch.export."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).partition("@")[0] if stack else ""


def _flat(item: Any) -> Iterator[Any]:
    if isinstance(item, list | tuple):
        for part in item:
            yield from _flat(part)
    else:
        yield item


def _plain(item: Any) -> Any:
    """Tensors in place of Knowns."""
    match item:
        case Known():
            return item.tensor
        case list() | tuple():
            return [_plain(part) for part in item]
        case dict():
            return {key: _plain(part) for key, part in item.items()}
        case _:
            return item


def _wrapped(item: Any, source: tuple[Hashable, ...]) -> Any:
    if isinstance(item, torch.Tensor):
        return Known(item, "", source or None)
    return tuple(_wrapped(part, source) for part in item) if isinstance(item, list | tuple) else item
