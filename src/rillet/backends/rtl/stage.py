"""A stage in the making: its inputs, the lines of its Verilog module, and the memories that these read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rillet.arithmetic import fixed_point as fp
from rillet.backends.rtl.layout import Layout
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activation
from rillet.ir.types import DType, Quant, TensorType
from rillet.plan.pipeline.fifos import Reading
from rillet.plan.pipeline.memories import in_block_ram
from rillet.plan.pipeline.plan import PixelStage
from rillet.targets.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Source:
    """An input of a stage as it comes: the value, the channels of its writer's beats, and the ring's depth."""

    node: Node
    beat: int
    depth: int
    reading: Reading

    @property
    def bits(self) -> int:
        """Of a channel."""
        return bits_within(self.node.type)

    @property
    def zero_point(self) -> int:
        """Its zero point as hardware has it."""
        return inside(self.node.type).zero_point


@dataclass
class Stage:
    """A stage in the making."""

    graph: Graph
    node: Node
    plan: PixelStage
    word: str
    """Its name in Verilog."""
    sources: tuple[Source, ...]
    pipeline: Pipeline
    lines: list[str] = field(default_factory=list[str])
    memories: dict[str, str] = field(default_factory=dict[str, str])
    beat: int = 1
    """Channels of its own beats."""

    @property
    def where(self) -> str:
        """What messages begin with."""
        return f"{self.graph.name}: {self.node.name}"

    @property
    def bits(self) -> int:
        """Of a channel of its result."""
        return bits_within(self.node.type)

    def memory(self, name: str, text: str) -> str:
        """A file of words; gives its name as Verilog writes it."""
        path = f"mem/{self.word}_{name}.hex"
        self.memories[path] = text
        return f'"{path}"'

    def style(self, width: int, words: int, constant: bool = True) -> str:
        """Where a memory lies, as synthesis is told: where the plan counts it."""
        if in_block_ram(width, words, self.pipeline, constant=constant):
            return '"block"'
        if constant:
            return '"auto"'
        return '"distributed"' if self.pipeline.lutram_words > 1 else '"registers"'

    def add(self, *lines: str) -> None:
        """Lines of the module."""
        self.lines += [f"  {line}" for line in lines]

    def part(self, module: str, name: str, parameters: Mapping[str, object], ports: Mapping[str, object]) -> None:
        """An instance of a part of the library."""
        said = ", ".join(f".{key}({value})" for key, value in parameters.items())
        joined = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.add(f"{module} #({said}) {name}", f"  ({joined});")

    def lanes(self, count: int, *lines: str) -> None:
        """Lines for each lane i."""
        number = sum(line == "  generate" for line in self.lines)
        self.add(
            *([] if number else ["genvar i;"]),
            "generate",
            f"  for (i = 0; i < {count}; i = i + 1) begin : lane{number or ''}",
        )
        self.add(*(f"    {line}" for line in lines), "  end", "endgenerate")

    def ring(self, place: int, made: Layout, free_bits: int) -> None:
        """The ring of an input, with wires to its reader."""
        self.add(
            f"wire arrived{place}, re{place};",
            f"wire [{free_bits - 1}:0] freed{place};",
            f"wire [{made.copies * made.address_bits - 1}:0] ra{place};",
            f"wire [{made.copies * made.word_channels * made.bits - 1}:0] rd{place};",
        )
        parameters = {
            "BEAT": made.beat * made.bits, "BEATS": made.beats, "CHUNKS": made.chunks, "WORDS": made.words,
            "DEPTH": made.depth, "COPIES": made.copies, "AB": made.address_bits, "FB": free_bits,
            "STYLE": self.style(made.word_channels * made.bits, made.size, constant=False),
        }  # fmt: skip
        ports = {name: f"in{place}_{name[3:]}" for name in ("in_begin", "in_valid", "in_data", "in_room")}
        ports |= {name: f"{name}{place}" for name in ("arrived", "freed", "re", "ra", "rd")}
        self.part("rillet_ring", f"ring{place}", parameters, {"clk": "clk", "rst": "rst", **ports})
        last = self.lines.pop()
        observed = f"    , .peak(peaks[{32 * place + 31}:{32 * place}])"
        self.lines += [last[:-2], "`ifdef RILLET_OBSERVE", observed, "`endif", "  );"]


def bits_within(type_: TensorType) -> int:
    """Bits of a value as hardware has it: of binary ones the sign, 0 for 1 and 1 for -1."""
    return type_.dtype.bits


def inside(type_: TensorType) -> Quant:
    """A value's quantisation as hardware has it: of uint8 the sign bit is flipped, 128 taken off."""
    assert type_.quant is not None
    return Quant(type_.quant.scale, inner(type_.quant.zero_point, type_.dtype))


def inner(stored: int, dtype: DType) -> int:
    """A stored integer as hardware has it."""
    return stored - 128 if dtype is DType.U8 else stored


def bounds(stage: Stage, activation: Activation) -> tuple[int, int]:
    """Least and greatest result, as hardware has them."""
    type_ = stage.node.type
    assert type_.quant is not None
    clamp = fp.activation_clamp(activation, type_.quant, type_.dtype)
    return inner(clamp.low, type_.dtype), inner(clamp.high, type_.dtype)
