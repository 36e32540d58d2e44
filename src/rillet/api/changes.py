"""Transformations of a network: batch-norm folding, FuSe, resizing, quantisation, compression."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

from rillet.api import checks, networks
from rillet.api.networks import save, with_weights
from rillet.data.datasets import Dataset
from rillet.data.given import Data, held
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.models import variants
from rillet.report.progress import Advance, shown
from rillet.runtime import quantization as work
from rillet.runtime.changes import (
    Compressed,
    CompressOptions,
    QuantizationTable,
    Quantized,
    QuantizeOptions,
)
from rillet.transforms.dequantize import dequantize as make_float
from rillet.transforms.fold import fold as fold_graph
from rillet.transforms.live import Live
from rillet.transforms.live import live as live_channels
from rillet.transforms.lowbit import census, pack
from rillet.transforms.quantize import Rule, was_quantized
from rillet.transforms.quantize import quantize as quantize_graph
from rillet.transforms.statistics import Calibration

Note = Callable[[str], None]
"""Is told what a user should know."""


def _silent(text: str) -> None:
    """Tells nobody."""


def fold(net: Graph) -> Graph:
    """Folds batch norms into the convolutions before them, and activations into the ops before those.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0")
    >>> len(net.nodes), len(rillet.fold(net).nodes)
    (84, 30)
    """
    return fold_graph(checks.graph(net))


def dequantize(net: Graph) -> Graph:
    """Dequantises a network: its float32 form, with the values that its integers stand for.

    >>> import numpy, rillet
    >>> net = rillet.load("microbotnet:width=0.32,seed=0")
    >>> made = rillet.quantize(net, numpy.zeros((1, 32, 32, 3), numpy.uint8)).graph
    >>> made.input_nodes[0].type.dtype.value, rillet.dequantize(made).input_nodes[0].type.dtype.value
    ('i8', 'f32')
    """
    return make_float(checks.graph(net))


def live(net: Graph) -> Live:
    """The int8 or uint8 network without the channels that cannot change an output byte, and what was removed.

    Raises Unsupported for a float32 network, GraphError for one without weights (docs/live.md).

    >>> import numpy, rillet
    >>> net = rillet.load("microbotnet:width=0.32,seed=0")
    >>> made = rillet.live(rillet.quantize(net, numpy.zeros((1, 32, 32, 3), numpy.uint8)).graph)
    >>> made.graph.macs == made.macs_after <= made.macs_before
    True
    """
    made = live_channels(checks.graph(net))
    networks.keep_said(made.graph, net, "--live")
    return made


def fuse(net: Graph, variant: str, *, blocks: str = "", share: float | None = None, fit: bool = False) -> Graph:
    """Replaces depthwise and dense K x K convolutions by row and column ones (FuSeConv, Ganesan et al., DATE 2021).

    variant: `half` or `full`; `half50` or `full50` as published for some networks of the zoo. blocks: only these, as
    `2-10` or `3+block5`. share: instead, this fraction of all replaceable layers, from the first on. fit: keep layers
    with odd feature maps. The weights need retraining. Raises GraphError for an unknown variant or block.

    >>> import rillet
    >>> rillet.fuse(rillet.load("mobilenet_v2"), "half").name
    'mobilenet_v2:fuse=half'
    """
    words: dict[str, str] = {"fuse": variant}
    words |= {"blocks": blocks} if blocks else {}
    words |= {} if share is None else {"share": str(share)}
    words |= {"fit": "true"} if fit else {}
    return _changed(net, words)


def resize(
    net: Graph,
    *,
    width: float | None = None,
    resolution: "int | tuple[int, int] | None" = None,
    classes: int | None = None,
) -> Graph:
    """Changes the width multiplier, the input resolution or the number of classes of a network.

    width: factor on all channels, for an untrained network only. resolution: pixels of a side, or (height, width).
    classes: outputs of a new last layer, with random weights where the network has weights. Raises GraphError for a
    value that the network does not allow.

    >>> import rillet
    >>> small = rillet.resize(rillet.load("mobilenet_v2"), width=0.5, resolution=96, classes=10)
    >>> small.name, rillet.count(small).params
    ('mobilenet_v2:width=0.5,resolution=96,classes=10', 588250)
    """
    words: dict[str, str] = {} if width is None else {"width": f"{width:g}"}
    if resolution is not None:
        words["resolution"] = str(resolution) if isinstance(resolution, int) else "x".join(map(str, resolution))
    words |= {} if classes is None else {"classes": str(classes)}
    return _changed(net, words)


def _changed(net: Graph, words: Mapping[str, str]) -> Graph:
    """The network under changes, as they stand behind a model's name; one of the zoo knows its published variants."""
    from rillet.models.specifier import split
    from rillet.zoo.registry import NETWORKS

    net = checks.graph(net)
    return variants.change(net, words, NETWORKS.get(split(net.name)[0]))


# -- quantisation ------------------------------------------------------------------------------------------------------


def quantize(
    net: Graph,
    data: Data,
    *,
    weight_bits: int | str = 8,
    rule: str | None = None,
    calibration: str | None = None,
    equalize: bool = False,
    correct_bias: bool = False,
    threshold: float | None = None,
    real: bool = False,
    limit: int | None = None,
    evaluate: bool = False,
    layers: bool = False,
    out: "str | PathLike[str] | None" = None,
    progress: Advance | None = None,
) -> Quantized:
    """Quantises a float network to 8-bit integers after training; the result's `graph` is the quantised network.

    data: pictures to calibrate with (the training part of a name; `random` for noise); with labels where `evaluate`
    measures top-1 before and after, on the test part of a name. weight_bits: 8, `ternary` or `binary`; real: then
    all else stays float32. threshold: what becomes 0 of weights that become ternary, as a fraction of the greatest.
    rule: how results are rounded, `shift` (the default) or `fixed_point`. calibration: how ranges are chosen, `minmax`,
    `percentile` (the default) or `mse`. equalize: channels are evened out across layers before. correct_bias: the mean
    error of rounded weights is taken out of the biases. limit: pictures to calibrate with, 128 by default. layers:
    measure how much each layer loses. out: a file for the network. progress: takes pictures done, and how many there
    are. Raises GraphError for what does not go together, a network that is no float one, and data that are none.

    >>> import numpy, rillet
    >>> net = rillet.load("microbotnet:width=0.32,seed=0")
    >>> made = rillet.quantize(net, numpy.zeros((4, 32, 32, 3), numpy.uint8), rule="fixed_point")
    >>> made.images, made.weight_bytes < made.float_weight_bytes / 3
    (4, True)
    """
    asked = QuantizeOptions(
        bits=str(weight_bits),
        real=real,
        threshold=threshold,
        rounding=rule,
        calibration=calibration,
        equalize=equalize,
        correct_bias=correct_bias,
        limit=limit,
        evaluate=evaluate,
        layers=layers,
        out=None if out is None else checks.path(out, "out"),
    )
    return quantize_by(net, data, asked, progress)


def quantize_by(
    net: Graph, data: Data, asked: QuantizeOptions, progress: Advance | None = None, note: Note = _silent
) -> Quantized:
    """`quantize` with its options in one record; `note` is told at once what the record's notes say."""
    net, pictures = _with_pictures(net, data, asked)
    notes = _Notes(note)
    original = net
    if asked.few:
        net, trained = work.with_few_bits(net, asked.bits, asked.threshold)
        if not trained:
            notes.add(f"{net.name}: weights were not trained to be {asked.bits}; expect to lose accuracy")
    more: dict[str, Any] = {}
    if asked.real:
        made, before = pack(fold_graph(net)), fold_graph(original)
    else:
        calibrated = _calibrated(net, pictures, asked, progress)
        if asked.how.rule is Rule.SHIFT:
            notes.rounded_again(calibrated.graph)
        made = quantize_graph(calibrated.graph, calibrated.seen, asked.how)
        made = pack(made) if asked.few else made
        before = fold_graph(original) if asked.few else calibrated.graph
        how = asked.how
        more = {"rounding": how.rule.value, "calibration": how.calibration.value, "images": calibrated.images}
        more["layers"] = tuple(work.layer_errors(calibrated, made)) if asked.layers else None
    if asked.out is not None:
        more |= {"file": str(asked.out), "file_bytes": save(made, asked.out)}
    if asked.evaluate:
        with shown("measuring accuracy"):
            more |= {"float_top1": work.accuracy(before, pictures), "top1": work.accuracy(made, pictures)}
    sizes = (before.weight_bytes, made.weight_bytes)
    return Quantized(made, before.name, asked.bits, census(made), *sizes, notes=tuple(notes.told), **more)


def compare_quantized(
    net: Graph,
    data: Data,
    *,
    equalize: bool = False,
    correct_bias: bool = False,
    limit: int | None = None,
    progress: Advance | None = None,
) -> QuantizationTable:
    """Compares accuracy and size: float32, and quantised under both rounding rules with each calibration method.

    Arguments and errors as for `quantize`; data must have labels.
    """
    asked = QuantizeOptions(equalize=equalize, correct_bias=correct_bias, limit=limit, compare=True)
    return compare_by(net, data, asked, progress)


def compare_by(
    net: Graph, data: Data, asked: QuantizeOptions, progress: Advance | None = None, note: Note = _silent
) -> QuantizationTable:
    """`compare_quantized` with its options in one record; `note` as in `quantize_by`."""
    notes = _Notes(note)
    net, pictures = _with_pictures(net, data, asked)
    calibrated = _calibrated(net, pictures, asked, progress)
    notes.rounded_again(calibrated.graph)
    total = 1 + len(Rule) * len(Calibration)
    with shown("comparing", progress) as advance:
        rows = work.compare(calibrated, pictures, asked.correct_bias, progress=lambda done: advance(done, total))
    return QuantizationTable(net.name, calibrated.images, tuple(rows), tuple(notes.told))


def _with_pictures(net: Graph, data: Data, asked: QuantizeOptions) -> tuple[Graph, str | Dataset]:
    """A network that can run, and its data, of classes that fit it where accuracy is measured."""
    net, labelled = with_weights(checks.graph(net)), asked.evaluate or asked.compare
    limit = None if labelled else asked.images
    pictures = held(data, labelled=labelled, outputs=net.by_name[net.outputs[0]].shape.elements, limit=limit)
    if labelled:
        work.check_classes(net, pictures)
    return net, pictures


def _calibrated(net: Graph, data: str | Dataset, asked: QuantizeOptions, progress: Advance | None) -> work.Calibrated:
    total = asked.images if isinstance(data, str) else min(asked.images, len(data))
    with shown("calibrating", progress) as advance:
        return work.calibrate(net, data, asked.images, asked.equalize, lambda done: advance(done, total))


class _Notes:
    """What a user should know, told at once and kept."""

    def __init__(self, note: Note) -> None:
        self.told: list[str] = []
        self._note = note

    def add(self, text: str) -> None:
        """Tells and keeps a sentence."""
        self.told.append(text)
        self._note(text)

    def rounded_again(self, net: Graph) -> None:
        """Says of a float network that it was one of integers."""
        if was_quantized(net):
            self.add(
                f"{net.name}: weights were 8-bit integers before; "
                "--rounding fixed_point keeps them as they were, shift rounds them again"
            )


# -- compression -------------------------------------------------------------------------------------------------------


def compress(
    net: Graph,
    *,
    sparsity: float | None = None,
    index_bits: int | None = None,
    more_than: int | None = None,
    layers: Sequence[str] = (),
    out: "str | PathLike[str] | None" = None,
    evaluate: Data | None = None,
    progress: Advance | None = None,
) -> Compressed:
    """Deep compression (Han et al. 2015): magnitude pruning and weight clustering, and the size dense, packed and
    coded.

    sparsity: the fraction of each layer's weights that become zero, the least ones. index_bits: at most 2**index_bits
    values a layer, beside zero. more_than: layers of so few weights stay as they are, 1000 by default. layers: these
    instead of all large ones. out: a file for the network. evaluate: labelled pictures (the test part of a name) on
    which top-1 is measured before and after. Raises GraphError for a network without weights, and for what does not go
    together.

    >>> import rillet
    >>> made = rillet.compress(rillet.load("microbotnet:width=0.32,seed=0"), sparsity=0.5, index_bits=4)
    >>> made.size.coded_bytes < made.size.dense_bytes / 4
    True
    """
    asked = CompressOptions(sparsity=sparsity, bits=index_bits, more_than=more_than, layers=tuple(layers))
    return compress_by(net, asked, out=out, evaluate=evaluate, progress=progress)


def compress_by(
    net: Graph,
    asked: CompressOptions,
    *,
    out: "str | PathLike[str] | None" = None,
    evaluate: Data | None = None,
    progress: Advance | None = None,
) -> Compressed:
    """`compress` with its options in one record."""
    from rillet.analyses.coding import network_size
    from rillet.transforms.prune import prunable_layers, prune
    from rillet.transforms.share import share

    # Folded first: a batch norm folded afterwards would give every channel values of its own.
    net = fold_graph(checks.graph(net))
    if not net.params:
        raise GraphError(f"{net.name}: must have weights to be compressed, got none")
    test: str | Dataset | None = None
    if evaluate is not None:
        test = held(evaluate, labelled=True, outputs=net.by_name[net.outputs[0]].shape.elements)
        work.check_classes(net, test)
    made = net
    if asked.sparsity is not None or asked.bits is not None:
        chosen = prunable_layers(net, asked.more_than, asked.layers)
        made = made if asked.sparsity is None else prune(made, asked.sparsity, chosen)
        made = made if asked.bits is None else share(made, asked.bits, chosen)
    more: dict[str, Any] = {}
    with shown("compressing", progress) as advance:
        steps = 1 if test is None else 2 if made is net else 3
        size = network_size(made)
        advance(1, steps)
        if test is not None:
            after = work.accuracy(made, test)
            advance(2, steps)
            more = {"top1": after, "top1_before": after if made is net else work.accuracy(net, test)}
            advance(steps, steps)
    if out is not None:
        path = checks.path(out, "out")
        more |= {"file": str(path), "file_bytes": save(made, path)}
    return Compressed(made, size, asked.sparsity or 0.0, asked.bits, made is not net, **more)
