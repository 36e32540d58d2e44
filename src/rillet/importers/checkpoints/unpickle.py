"""A restricted pickle interpreter, which can build only tensors, containers and plain scalars.

It decodes opcodes and keeps a stack of its own. It imports nothing, calls nothing that a file names and sets no
attributes: a name that is not in the short list below is refused before anything is done with it.
"""

import io
import pickletools
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rillet.errors import GraphError, Unsupported
from rillet.importers.checkpoints.records import shown

MAX_OPCODES = 2**20
"""Of one pickle; a tensor takes about forty."""
MAX_DIMENSIONS = 8

STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
ORDERED = "collections.OrderedDict"
SETS = ("builtins.set", "__builtin__.set")
SIZE = "torch.Size"
PARAMETER = "torch._utils._rebuild_parameter"
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
KNOWN = {ORDERED, *SETS, SIZE, PARAMETER, *TENSORS, *STORAGES}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle mentions; never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Elements `start` to `start + count` of the file's storage `key`, on whatever device it was."""

    key: str
    dtype: str
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage, in elements; nothing of it is checked against the storage yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


Value = Any
"""None, bool, int, float, str, bytes, tuple, list, dict, set of strings, Global, Storage or Tensor."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """The value of a pickle, and the element type of every storage that it names."""

    value: Value
    storages: Mapping[str, str]


def load(stream: io.BytesIO, where: str, kind: "type[Machine] | None" = None) -> Pickled:
    """What the pickle holds that begins at the stream's position; leaves the stream behind its last opcode.

    `kind` is the machine that makes it, if not this one. Raises GraphError for a broken pickle, Unsupported for one
    that holds, or would do, anything else; both begin with `where`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in broken strings
        return _run((kind or Machine)(where), stream)


def _run(machine: "Machine", stream: io.BytesIO) -> Pickled:
    opcodes = pickletools.genops(stream)
    for _ in range(MAX_OPCODES):
        try:
            opcode, argument, _ = next(opcodes)
        except StopIteration:
            return Pickled(machine.result(), machine.storages)
        except ValueError as error:
            raise machine.broken(shown(str(error))) from None
        machine.step(opcode.name, argument)
    raise GraphError(f"{machine.where}: must be a pickle of at most {MAX_OPCODES} opcodes, got more")


class Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}
        self.storages: dict[str, str] = {}
        self.copies = MAX_OPCODES

    def broken(self, reason: str) -> GraphError:
        """What to raise where the pickle is not well formed."""
        return GraphError(f"{self.where}: must be a well-formed pickle, got a broken one ({reason})")

    def refused(self, what: str) -> Unsupported:
        """What to raise where the pickle holds, or would do, anything that is not known."""
        return Unsupported(f"{self.where}: must hold only tensors, containers and plain scalars; this pickle {what}")

    def result(self) -> Value:
        """The one value that is left at the end."""
        if len(self.stack) != 1 or self.marks:
            raise self.broken(f"{len(self.stack)} values at its end")
        return self.stack[0]

    # -- the stack -------------------------------------------------------------------------------------------------

    def push(self, value: Value) -> None:
        """Puts a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Value:
        """Takes the last value."""
        return self.take(1)[0]

    def take(self, count: int) -> list[Value]:
        """The last `count` values, which must lie above the last mark."""
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise self.broken("a value is missing")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def marked(self) -> list[Value]:
        """The values above the last mark, which goes with them."""
        if not self.marks:
            raise self.broken("a mark is missing")
        taken = self.take(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return taken

    def top(self, kind: type) -> Value:
        """The last value, which must be a container of `kind`."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise self.broken(f"a {kind.__name__} is missing")
        return self.stack[-1]

    # -- the opcodes -----------------------------------------------------------------------------------------------

    def step(self, name: str, argument: Any) -> None:
        """Does what one opcode says."""
        match name:
            case "PROTO":
                if argument > 5:
                    raise self.broken(f"protocol {argument}")
            case "FRAME" | "STOP":
                pass
            case "NONE":
                self.push(None)
            case "NEWTRUE" | "NEWFALSE":
                self.push(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                self.push(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                self.push(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                self.push(argument)
            case "EMPTY_TUPLE":
                self.push(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push(tuple(self.take(int(name[-1]))))
            case "TUPLE":
                self.push(tuple(self.marked()))
            case "EMPTY_LIST":
                self.push([])
            case "LIST":
                self.push(self.marked())
            case "APPEND":
                value = self.pop()
                self.top(list).append(value)
            case "APPENDS":
                values = self.marked()
                self.top(list).extend(values)
            case "EMPTY_DICT":
                self.push({})
            case "DICT":
                values = self.marked()
                self.push({})
                self.fill(values)
            case "SETITEM":
                self.fill(self.take(2))
            case "SETITEMS":
                self.fill(self.marked())
            case "EMPTY_SET":
                self.push(set())
            case "ADDITEMS":
                values = self.marked()
                self.top(set).update(self.strings(values))
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP":
                self.pop()
            case "POP_MARK":
                self.marked()
            case "DUP":
                value = self.pop()
                self.stack += [value, value]
            case "BINPUT" | "LONG_BINPUT":
                self.remember(argument)
            case "MEMOIZE":
                self.remember(len(self.memo))
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise self.broken(f"memo {argument} is missing")
                self.push(self.memo[argument])
            case "GLOBAL":
                self.push(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.push(self.named(*self.strings(self.take(2))))
            case "BINPERSID":
                self.push(self.storage(self.pop()))
            case "REDUCE":
                function, arguments = self.take(2)
                self.push(self.made(function, arguments))
            case "BUILD":
                self.pop()
                # The state of an ordered dictionary is torch's `_metadata`: versions of modules.
                if not self.stack or not isinstance(self.stack[-1], OrderedDict):
                    raise self.refused("would set the state of an object (BUILD)")
            case "INST":
                raise self.refused(f"would run {shown(argument.replace(' ', '.', 1))} (INST)")
            case _:
                raise self.refused(f"has the opcode {name}")

    def remember(self, index: int) -> None:
        """Puts the last value into the memo."""
        if index >= MAX_OPCODES:
            raise self.broken(f"memo {index}")
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def fill(self, items: list[Value]) -> None:
        """Puts keys and values by turns into the dictionary on the stack."""
        target = self.top(dict)
        if len(items) % 2:
            raise self.broken("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def key(self, key: Value) -> str:
        """A dictionary's key; whole numbers become strings, whose hashes a file cannot choose."""
        if isinstance(key, str):
            return key
        if type(key) is int and abs(key) < 2**63:
            return str(key)
        raise self.refused(f"has a key that is neither a string nor a whole number ({type(key).__name__})")

    def strings(self, values: Sequence[Value]) -> list[str]:
        """`values`, all of which must be strings."""
        for value in values:
            if not isinstance(value, str):
                raise self.refused(f"has {type(value).__name__} where only strings can be")
        return list(values)

    # -- names, storages and what is made of them ------------------------------------------------------------------

    def named(self, module: str, name: str = "") -> Global:
        """A name of a module, which must be a known one."""
        full = f"{module}.{name}"
        if full not in KNOWN:
            raise self.refused(f"would run {shown(full)}")
        return Global(full)

    def storage(self, identity: Value) -> Storage:
        """The storage that a persistent name means."""
        match identity:
            case ("storage", Global(name=kind), str(key), str(_), int(count), *rest) if kind in STORAGES:
                start = 0
                match rest:
                    case [] | [None]:
                        pass
                    case [(str(_), int(start), int(size))] if 0 <= start <= start + size <= count:
                        count = size
                    case _:
                        raise self.broken("a view of a storage")
                if not 0 <= count < 2**40:
                    raise self.broken("a storage whose size is no number of elements")
                if self.storages.setdefault(key, STORAGES[kind]) != STORAGES[kind]:
                    raise self.broken("a storage of two types")
                return Storage(key, STORAGES[kind], start, count)
            case _:
                raise self.broken("a persistent name that is no storage")

    def made(self, function: Value, arguments: Value) -> Value:
        """What a call of a known function would make."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise self.broken("a call of a value")
        match function.name, arguments:
            case "collections.OrderedDict", ():
                return OrderedDict()
            case "collections.OrderedDict", (list(pairs),):
                made: OrderedDict[str, Value] = OrderedDict()
                for pair in self.copied(pairs):
                    if not isinstance(pair, list | tuple) or len(pair) != 2:
                        raise self.broken("a pair is missing")
                    made[self.key(pair[0])] = pair[1]
                return made
            case (("builtins.set" | "__builtin__.set"), (list(values),)):
                return set(self.strings(self.copied(values)))
            case "torch.Size", (tuple(size),):
                return size
            case "torch._utils._rebuild_parameter", (Tensor() as tensor, *_):
                return tensor
            case (("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2"), (Storage() as storage, *rest)):
                return self.tensor(storage, rest)
            case _:
                raise self.broken(f"a call of {function.name} with other arguments than torch's")

    def copied(self, values: list[Value]) -> list[Value]:
        """`values`, counted: a short pickle could have one long list copied many times."""
        self.copies -= len(values)
        if self.copies < 0:
            raise self.broken(f"more than {MAX_OPCODES} copied items")
        return values

    def tensor(self, storage: Storage, rest: list[Value]) -> Tensor:
        """The tensor that a call of torch would make."""
        match rest:
            # Behind the strides: whether it wants a gradient, hooks, and (where set) bits such as `conjugate`.
            case [int(offset), tuple(size), tuple(stride), *more] if len(more) <= 2 or not more[2]:
                numbers = (offset, *size, *stride)
                if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
                    raise self.broken(f"a tensor of {len(size)} sizes and {len(stride)} strides")
                if any(type(n) is not int or not 0 <= n < 2**40 for n in numbers):
                    raise self.broken("a tensor whose sizes are no numbers")
                return Tensor(storage, offset, size, stride)
            case _:
                raise self.broken("a tensor with other arguments than torch's")
