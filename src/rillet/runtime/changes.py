"""Options and results of quantisation and of compression."""

from dataclasses import asdict, dataclass
from pathlib import Path

from rillet.analyses.coding import NetworkSize
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.runtime.quantization import Compared, LayerError
from rillet.system.options import Uses
from rillet.system.record import Record
from rillet.transforms.lowbit import TernaryReport
from rillet.transforms.quantize import Quantization, Rule
from rillet.transforms.statistics import Calibration

BITS = ("8", "ternary", "binary")
CALIBRATION_IMAGES = 128
_INTEGERS = ("--rounding", "--calibration", "--correct-bias", "--limit", "--evaluate", "--layer-errors", "-o")
QUANTIZE = Uses(
    {
        "--weight-bits 8": (*_INTEGERS, "--equalize"),
        "--compare": ("--correct-bias", "--limit", "--equalize"),
        "--weight-bits ternary": (*_INTEGERS, "--threshold"),
        "--weight-bits binary": _INTEGERS,
        "--weight-bits ternary --float": ("--threshold", "--evaluate", "-o"),
        "--weight-bits binary --float": ("--evaluate", "-o"),
    }
)
"""The modes of quantisation, and the options that apply to each."""
_WHICH = ("--layers", "--more-than")
COMPRESS = Uses({"--sparsity": _WHICH, "--index-bits": _WHICH, "neither": ()})


def one_of(option: str, word: str, words: tuple[str, ...]) -> str:
    """`word` if it is one of `words`; raises GraphError if not."""
    if word not in words:
        raise GraphError(f"{option} must be one of {', '.join(words)}, got {word!r}")
    return word


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Options of a quantisation, None for the default; raises GraphError for options that exclude each other."""

    bits: str = "8"
    """Of a weight: `8`, `ternary` or `binary`."""
    real: bool = False
    """For binary and ternary weights: activations, and all other weights, stay float32."""
    threshold: float | None = None
    """Zero threshold for ternarising, as a fraction of max abs(w)."""
    rounding: str | None = None
    """`shift` (the default) or `fixed_point`."""
    calibration: str | None = None
    """`minmax`, `percentile` (the default) or `mse`."""
    equalize: bool = False
    correct_bias: bool = False
    limit: int | None = None
    """Pictures to calibrate with, 128 by default."""
    evaluate: bool = False
    """Measure top-1 before and after."""
    layers: bool = False
    """Measure how much each layer loses."""
    out: Path | None = None
    compare: bool = False
    """Both rules with each calibration are measured instead."""

    def __post_init__(self) -> None:
        few = one_of("--weight-bits", self.bits, BITS) != "8"
        if few and self.compare:
            raise GraphError(f"--compare must come with --weight-bits 8, got {self.bits}")
        if not few and self.real:
            raise GraphError("--float must come with --weight-bits ternary or binary, got 8")
        if self.limit is not None and self.limit < 1:
            raise GraphError(f"--limit must be at least 1, got {self.limit}")
        mode = "--compare" if self.compare else f"--weight-bits {self.bits}{' --float' if self.real else ''}"
        QUANTIZE.check(
            mode,
            {
                "-o": self.out,
                "--threshold": self.threshold,
                "--rounding": self.rounding,
                "--calibration": self.calibration,
                "--equalize": self.equalize,
                "--correct-bias": self.correct_bias,
                "--limit": self.limit,
                "--evaluate": self.evaluate,
                "--layer-errors": self.layers,
            },
        )
        one_of("--rounding", self.rounding or "shift", tuple(rule.value for rule in Rule))
        one_of("--calibration", self.calibration or "percentile", tuple(one.value for one in Calibration))

    @property
    def few(self) -> bool:
        """True where weights get one or two bits."""
        return self.bits != "8"

    @property
    def images(self) -> int:
        """Pictures to calibrate with."""
        return CALIBRATION_IMAGES if self.limit is None else self.limit

    @property
    def how(self) -> Quantization:
        """The same in the words of the transform."""
        rule, method = Rule(self.rounding or "shift"), Calibration(self.calibration or "percentile")
        return Quantization(rule, method, self.correct_bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """Options of a compression; raises GraphError for options that exclude each other."""

    sparsity: float | None = None
    """Fraction of each layer's weights to prune, the smallest in magnitude."""
    bits: int | None = None
    """Weights are clustered to at most 2**bits nonzero values per layer."""
    more_than: int | None = None
    """Layers with at most so many weights are left alone; 1000 by default."""
    layers: tuple[str, ...] = ()
    """These instead of all large ones."""

    def __post_init__(self) -> None:
        mode = "--sparsity" if self.sparsity is not None else "--index-bits" if self.bits is not None else "neither"
        COMPRESS.check(mode, {"--layers": self.layers, "--more-than": self.more_than})


@dataclass(frozen=True, slots=True, repr=False)
class Quantized(Record):
    """A quantised network, with its size and accuracy before and after."""

    graph: Graph
    model: str
    bits: str
    few_bits: TernaryReport
    float_weight_bytes: int
    weight_bytes: int
    rounding: str | None = None
    """None where values stay float32, as `calibration` and `images`."""
    calibration: str | None = None
    images: int | None = None
    """Pictures that it was calibrated with."""
    float_top1: float | None = None
    """Before; None where it was not measured, as `top1`."""
    top1: float | None = None
    layers: tuple[LayerError, ...] | None = None
    file: str | None = None
    file_bytes: int | None = None
    notes: tuple[str, ...] = ()
    """What a user should know, a sentence each."""

    def __repr__(self) -> str:
        how = "float32" if self.rounding is None else f"int8, rounding {self.rounding}"
        bits = "" if self.bits == "8" else f", {self.bits} weights"
        sizes = f"weights {self.float_weight_bytes:,} B -> {self.weight_bytes:,} B"
        return f"<Quantized {self.model}: {how}{bits}; {sizes}>"


@dataclass(frozen=True, slots=True, repr=False)
class QuantizationTable(Record):
    """A float network beside both rounding rules with each way of choosing ranges."""

    model: str
    images: int
    rows: tuple[Compared, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<QuantizationTable {self.model}: {len(self.rows)} ways, top-1 {self.rows[0].top1:.2%} in float32>"


@dataclass(frozen=True, slots=True, repr=False)
class Compressed(Record):
    """A pruned network, or one that shares weights, and its size dense, packed and coded."""

    graph: Graph
    size: NetworkSize
    sparsity: float
    bits: int | None
    changed: bool
    """False where the network was only measured."""
    top1_before: float | None = None
    top1: float | None = None
    file: str | None = None
    file_bytes: int | None = None

    def __repr__(self) -> str:
        sizes = f"{self.size.dense_bytes:,} B dense, {self.size.packed_bytes:,} B packed"
        return f"<Compressed {self.graph.name}: {sizes}, {self.size.coded_bytes:,} B coded>"


def quantized_record(made: Quantized) -> dict[str, object]:
    """The record as `--json` prints it."""
    counted = made.few_bits
    record: dict[str, object] = {
        "model": made.model,
        "bits": made.bits,
        "few_bits": {"tensors": counted.tensors, "plus": counted.plus, "zero": counted.zero, "minus": counted.minus},
        "float_weight_bytes": made.float_weight_bytes,
        "weight_bytes": made.weight_bytes,
        "file": made.file,
        "file_bytes": made.file_bytes,
        "float_top1": made.float_top1,
        "top1": made.top1,
    }
    if made.rounding is not None:
        record |= {"rounding": made.rounding, "calibration": made.calibration, "images": made.images}
    if made.layers is not None:
        record["layers"] = [asdict(error) for error in made.layers]
    return record


def compressed_record(made: Compressed) -> dict[str, object]:
    """The record as `--json` prints it."""
    measured = {"top1_before": made.top1_before, "top1": made.top1, "file": made.file, "file_bytes": made.file_bytes}
    return {"sparsity": made.sparsity, "bits": made.bits, **asdict(made.size), **measured}
