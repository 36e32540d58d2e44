"""Recipes: how a network is trained, each a TOML file, read strictly, and written back with the given overrides."""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rillet.errors import GraphError, TargetError
from rillet.targets import reading
from rillet.transforms.lowbit import MORE_THAN

_PACKAGE, _FOLDER = "rillet.train", "recipes"
_Found = TypeVar("_Found")


def _between(least: float, most: float, default: Any = MISSING) -> Any:
    """A field with bounds, both included."""
    bounds = {"least": least, "most": most}
    return field(metadata=bounds) if default is MISSING else field(default=default, metadata=bounds)


@dataclass(frozen=True, slots=True)
class Run:
    """How long, how many pictures a step (over all processes), and in which numbers."""

    epochs: int = _between(1, 100_000)
    batch: int = _between(1, 2**20)
    upscale: int = _between(0, 4096, 0)
    """The side that pictures are brought to, and the network's resolution; 0 leaves the network's own."""
    held_back: int | float = _between(0, 2**40, 0)
    """Training pictures kept apart to choose the best epoch by, or their share; 0: the test part chooses."""
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    """auto: bf16 or f16 on a GPU that has it, else f32; f16 with a loss scale."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Which optimiser, and its constants, as PyTorch names them."""

    name: Literal["sgd", "rmsprop", "adamw"]
    momentum: float = _between(0, 0.9999, 0.0)
    nesterov: bool = False
    alpha: float = _between(0, 0.9999, 0.99)
    epsilon: float = _between(1e-12, 1, 1e-8)
    weight_decay: float = _between(0, 1, 0.0)
    decay_vectors: bool = True
    """Weight decay on biases and batch norms too."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate: base * batch / per_batch, raised evenly over the warmup, then falling by its shape."""

    shape: Literal["cosine", "step", "constant"]
    base: float = _between(0, 100)
    per_batch: int = _between(1, 2**20)
    factor: float = _between(0, 1, 1.0)
    """step: what the rate is multiplied by every `every_epochs`."""
    every_epochs: float = _between(1e-3, 100_000, 1.0)
    warmup_epochs: float = _between(0, 1000, 0.0)
    over_epochs: int = _between(0, 100_000, 0)
    """cosine: the epochs after which it is 0; 0 for those of the run. A run that ends earlier leaves it to the next."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross-entropy, perhaps with smoothed labels (Szegedy et al., arXiv:1512.00567)."""

    label_smoothing: float = _between(0, 0.9, 0.0)


@dataclass(frozen=True, slots=True)
class Average:
    """A running average of the weights, which is what is evaluated and kept; decay 0 keeps the weights themselves."""

    decay: float = _between(0, 0.999999, 0.0)


@dataclass(frozen=True, slots=True)
class BatchNorms:
    """Batch norms in training: how much of a new batch the running statistics take, and what is added to a variance."""

    momentum: float = _between(0, 1, 0.1)
    epsilon: float = _between(0, 1, 0.0)
    """0 leaves the network's own."""
    sync: bool = True
    """Statistics over the batch of all processes, so that two processes do what one does; else each its own."""


@dataclass(frozen=True, slots=True)
class Augment:
    """What is drawn for each picture; `share` and `crop_scale` are shares of the picture's side and of its area."""

    flip: bool = False
    pad: int = _between(0, 64, 0)
    """Black pixels around the picture, of which a crop of its own size is taken."""
    share: float = _between(0.1, 1, 1.0)
    """A crop of this share of the side, at the network's resolution: pictures are kept that much larger."""
    crop_scale: tuple[float, ...] = _between(0.01, 1, ())
    """Least and greatest share of the area; the crop is brought to the picture's size."""
    crop_ratio: tuple[float, ...] = _between(0.1, 10, (0.75, 4 / 3))
    """Least and greatest width to height of that crop."""
    randaugment: int = _between(0, 16, 0)
    """Operations of RandAugment, one after the other (Cubuk et al., arXiv:1909.13719)."""
    magnitude: int = _between(0, 30, 9)
    """How strong they are."""
    erase: float = _between(0, 1, 0.0)
    """The share of pictures of which a box becomes noise (Zhong et al., arXiv:1708.04896)."""
    mixup: float = _between(0, 100, 0.0)
    """Pictures mixed in pairs, shares of Beta(mixup, mixup), labels as well (Zhang et al., arXiv:1710.09412)."""
    cutmix: float = _between(0, 100, 0.0)
    """A box of the other picture instead, the rest's share of Beta(cutmix, cutmix) (Yun et al., arXiv:1905.04899)."""
    mix_probability: float = _between(0, 1, 1.0)
    """The share of pictures that are mixed; by either way in half of the cases where both are given."""


@dataclass(frozen=True, slots=True)
class Distill:
    """Learning from what a trained network says of the same pictures (Hinton et al., arXiv:1503.02531)."""

    teacher: str = ""
    """The network, as MODEL is given; --teacher goes over it."""
    weight: float = _between(0, 1, 0.9)
    """The share of the teacher in the loss; the rest is that of the labels."""
    temperature: float = _between(0.1, 100, 4.0)
    """Outputs of both are divided by it before the softmax, and the loss is times its square."""


@dataclass(frozen=True, slots=True)
class Start:
    """What becomes of the network first: a new last layer for the data's classes; all but the last layer frozen."""

    new_head: bool = False
    freeze: bool = False


@dataclass(frozen=True, slots=True)
class Ternary:
    """Trained ternary quantisation: which tensors, and when a weight is zero (at most threshold * max |w|)."""

    threshold: float = _between(0, 1, 0.05)
    more_than: int = _between(0, 2**40, 1000)
    """Tensors of more weights than this; the first and the last block excluded."""
    squeeze_excite: bool = True
    layers: tuple[str, ...] = ()
    """The layers by name instead of by these rules."""
    begin: Literal["one", "mean"] = "one"
    """What scales begin with: 1, as in the source, or the mean of what they stand for."""
    scale_rate: float = _between(0, 1000, 1.0)
    """Their learning rate, as a multiple of the recipe's and of what each begins with."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Magnitude pruning of a trained network with retraining: what becomes zero at the start stays zero."""

    sparsity: float = _between(0, 0.999)
    """The share of each layer's weights."""
    more_than: int = _between(0, 2**40, MORE_THAN)
    """Layers of more weights than this."""
    layers: tuple[str, ...] = ()
    """The layers by name instead."""


@dataclass(frozen=True, slots=True)
class Quantize:
    """Quantisation-aware training: what a trained network learns to be, and when its ranges are looked at."""

    rounding: Literal["shift", "fixed_point"] = "shift"
    calibration: Literal["minmax", "percentile", "mse"] = "percentile"
    images: int = _between(1, 2**20, 128)
    """Pictures of the training part that ranges are calibrated on."""
    observe_every: int = _between(1, 2**31, 100)
    """Steps between calibrations, the first before the first step."""
    freeze_epochs: float = _between(0, 100_000, 1.0)
    """From then on ranges stay as they are."""
    learn_scales: bool = False
    """Ranges of the first calibration are where training begins; scales are trained from there on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained."""

    name: str
    run: Run
    optimizer: Optimizer
    rate: Rate
    loss: Loss = Loss()
    average: Average = Average()
    batch_norm: BatchNorms = BatchNorms()
    augment: Augment = Augment()
    distill: Distill | None = None
    start: Start = Start()
    ternary: Ternary | None = None
    prune: Prune | None = None
    quantize: Quantize | None = None
    about: str = ""
    source: str = ""


_SECTIONS: Mapping[str, type[Any]] = {
    "run": Run,
    "optimizer": Optimizer,
    "rate": Rate,
    "loss": Loss,
    "average": Average,
    "batch_norm": BatchNorms,
    "augment": Augment,
    "distill": Distill,
    "start": Start,
    "ternary": Ternary,
    "prune": Prune,
    "quantize": Quantize,
}
_ONLY = {"nesterov": ("sgd",), "alpha": ("rmsprop",), "epsilon": ("rmsprop", "adamw"), "momentum": ("sgd", "rmsprop")}
_ONLY_STEP = ("factor", "every_epochs")


def names() -> tuple[str, ...]:
    """The recipes that Rillet has."""
    return reading.names(_FOLDER, _PACKAGE)


def find(name: str) -> Recipe:
    """The recipe called `name` (`-` and `_` alike), or that of a file ending in .toml.

    Raises GraphError for an unknown one (with the nearest), and for a file that is no recipe, naming the key.
    """
    return _checked(_recipe, *_checked(reading.document, _FOLDER, "recipe", name, _PACKAGE))


def parse(name: str, text: str) -> Recipe:
    """The recipe in a TOML text; raises GraphError as `find` does."""
    return _checked(_recipe, name, _checked(reading.table, name, text))


def to_toml(recipe: Recipe) -> str:
    """A TOML text that `parse` makes the same recipe of, but for its name; every key is written."""
    lines = [f"{key} = {_word(getattr(recipe, key))}" for key in ("about", "source") if getattr(recipe, key)]
    for key in _SECTIONS:
        section = getattr(recipe, key)
        if section is not None:
            lines += [
                "",
                f"[{key}]",
                *(f"{k} = {_word(v)}" for k, v in asdict(section).items() if _said(recipe, key, k)),
            ]
    return "\n".join(lines) + "\n"


def with_said(
    recipe: Recipe,
    *,
    epochs: int | None = None,
    batch: int | None = None,
    upscale: int | None = None,
    held_back: float | None = None,
    freeze: bool = False,
    ternary: bool = False,
    teacher: str | None = None,
) -> Recipe:
    """The recipe with what a user says over it; `ternary` and `teacher` add their sections as they are by default.

    A schedule over more epochs than the run's fits the run where its epochs are given. Raises GraphError for sections
    that cannot be in one recipe.
    """
    run = replace(
        recipe.run,
        epochs=recipe.run.epochs if epochs is None else epochs,
        batch=recipe.run.batch if batch is None else batch,
        upscale=recipe.run.upscale if upscale is None else upscale,
        held_back=recipe.run.held_back if held_back is None else _checked(_share, "--held-back", held_back),
    )
    made = replace(
        recipe,
        run=run,
        rate=recipe.rate if epochs is None else replace(recipe.rate, over_epochs=0),
        distill=recipe.distill if teacher is None else replace(recipe.distill or Distill(), teacher=teacher),
        start=replace(recipe.start, freeze=recipe.start.freeze or freeze),
        ternary=recipe.ternary or (Ternary() if ternary else None),
    )
    _checked(_check_together, made)
    return made


def _checked(ask: Callable[..., _Found], *words: Any) -> _Found:
    """What a check of a file's values gives; what it raises is GraphError then."""
    try:
        return ask(*words)
    except TargetError as error:
        raise GraphError(str(error)) from None


def _recipe(name: str, table: dict[str, Any]) -> Recipe:
    required = ("run", "optimizer", "rate")
    reading.check_keys(name, table, ("about", "source", *_SECTIONS), ("about", *required))
    said: dict[str, Any] = {
        key: _section(f"{name}: {key}", cls, table[key]) for key, cls in _SECTIONS.items() if key in table
    }
    for key in ("about", "source"):
        said[key] = reading.text(f"{name}: {key}", table[key]) if key in table else ""
    made = Recipe(name, **said)
    for key in table["optimizer"]:
        if made.optimizer.name not in _ONLY.get(key, (made.optimizer.name,)):
            raise TargetError(f"{name}: optimizer: {key} must come with {' or '.join(_ONLY[key])}")
    for key in table["rate"]:
        if key in _ONLY_STEP and made.rate.shape != "step":
            raise TargetError(f'{name}: rate: {key} must come with shape = "step", got {made.rate.shape!r}')
    if made.optimizer.nesterov and not made.optimizer.momentum:
        raise TargetError(f"{name}: optimizer: nesterov must come with momentum")
    if made.rate.over_epochs and (made.rate.shape != "cosine" or made.rate.over_epochs < made.run.epochs):
        raise TargetError(f'{name}: rate: over_epochs must come with shape = "cosine", and be at least epochs')
    if made.augment.crop_scale and (made.augment.pad or made.augment.share != 1):
        raise TargetError(f"{name}: augment: crop_scale must come without pad and share")
    if "mix_probability" in table.get("augment", {}) and not made.augment.mixup and not made.augment.cutmix:
        raise TargetError(f"{name}: augment: mix_probability must come with mixup or cutmix")
    if "magnitude" in table.get("augment", {}) and not made.augment.randaugment:
        raise TargetError(f"{name}: augment: magnitude must come with randaugment")
    _check_together(made)
    return made


def _check_together(made: Recipe) -> None:
    """Raises TargetError for sections that cannot be in one recipe."""
    name = made.name
    if made.ternary is not None and (made.prune is not None or made.quantize is not None):
        raise TargetError(f"{name}: ternary: must come without prune and quantize")
    if made.quantize is not None and made.run.precision not in ("auto", "f32"):
        got = made.run.precision
        raise TargetError(f'{name}: quantize: must come with precision = "f32", which holds its integers, got {got}')
    if made.quantize is not None and made.quantize.learn_scales and made.quantize.rounding != "fixed_point":
        # Under `shift` scales are bound to each other by powers of two.
        raise TargetError(f'{name}: quantize: learn_scales must come with rounding = "fixed_point"')
    if made.quantize is not None and made.start.new_head:
        raise TargetError(f"{name}: quantize: must come without new_head: the network must be trained before")


def _said(recipe: Recipe, section: str, key: str) -> bool:
    """False for keys that would be refused beside the recipe's others."""
    if section == "optimizer":
        return recipe.optimizer.name in _ONLY.get(key, (recipe.optimizer.name,))
    if section == "augment" and key in ("magnitude", "mix_probability"):
        said = recipe.augment
        return said.randaugment > 0 if key == "magnitude" else said.mixup + said.cutmix > 0
    if section == "distill" and key == "teacher":
        return recipe.distill is not None and bool(recipe.distill.teacher)
    if section == "rate" and key == "over_epochs":
        return recipe.rate.over_epochs > 0
    return not (section == "rate" and key in _ONLY_STEP and recipe.rate.shape != "step")


def _section(where: str, cls: type[Any], value: Any) -> Any:
    known = {found.name: found for found in fields(cls)}
    required = [found.name for found in known.values() if found.default is MISSING]
    table = reading.section(where, value, known, required)
    hints = get_type_hints(cls)
    return cls(**{key: _value(f"{where}: {key}", hints[key], known[key], said) for key, said in table.items()})


def _value(where: str, hint: Any, known: "Field[Any]", said: Any) -> Any:
    if get_origin(hint) is Literal:
        return reading.text(where, said, get_args(hint))
    if hint is str:
        return reading.text(where, said)
    if hint is bool:
        if not isinstance(said, bool):
            raise TargetError(f"{where}: must be true or false, got {reading.shown(said)}")
        return said
    if hint in (int, float):
        return hint(_number(where, known, said, whole=hint is int))
    if hint == int | float:
        return _share(where, _number(where, known, said))
    return _several(where, hint, known, said)


def _share(where: str, said: float) -> int | float:
    """A share below 1, or a whole number; raises TargetError for others."""
    if said >= 1 and said != int(said):
        raise TargetError(f"{where}: must be a share below 1 or a whole number, got {said:g}")
    return int(said) if said >= 1 or not said else said


def _several(where: str, hint: Any, known: "Field[Any]", said: Any) -> tuple[Any, ...]:
    if not isinstance(said, list):
        raise TargetError(f"{where}: must be a list, got {reading.shown(said)}")
    if get_args(hint)[0] is str:
        return tuple(reading.text(where, one) for one in said)
    numbers = tuple(float(_number(where, known, one)) for one in said)
    if numbers and (len(numbers) != 2 or numbers[0] > numbers[1]):
        raise TargetError(f"{where}: must be the least and the greatest, got {reading.shown(said)}")
    return numbers


def _number(where: str, known: "Field[Any]", said: Any, *, whole: bool = False) -> float:
    least, most = known.metadata["least"], known.metadata["most"]
    kinds = (int,) if whole else (int, float)
    if not isinstance(said, kinds) or isinstance(said, bool) or not least <= said <= most:
        what = "whole number" if whole else "number"
        raise TargetError(f"{where}: must be a {what} from {least:g} to {most:g}, got {str(said)[:40]}")
    return said


def _word(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case tuple():
            return f"[{', '.join(_word(one) for one in value)}]"  # pyright: ignore[reportUnknownVariableType]
        case _:
            return repr(value)
