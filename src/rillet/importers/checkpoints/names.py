"""Module names of other implementations of the zoo's networks, as tables.

A network's blocks are named by their `paths`, one a block in order. Within a block stand `slots`, one for each place of
the sequence that the authors wrote; a slot maps our roles to their modules, `{at}` being the block's path and `{i}` the
number of the place. A slot of which our block has no role takes no place, as the authors leave the layer out. Where a
module has two names, ` or ` stands between them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rillet.ir.graph import Graph, Node

Modules = Mapping[str, tuple[str, ...]]
"""For each of our nodes with arrays, the modules that it may be; the first one that is there counts."""

ALWAYS = "*"
"""A role in a slot that every block has: a place that is there even where it holds nothing."""


@dataclass(frozen=True, slots=True)
class Naming:
    """One naming: modules outside blocks, or that are exceptions; the blocks' paths; what a block holds."""

    name: str
    modules: Mapping[str, str]
    paths: tuple[str, ...]
    slots: tuple[Mapping[str, str], ...]

    def of(self, graph: Graph) -> Modules | None:
        """The modules of a graph's nodes; None where the graph has other blocks or roles than this naming knows."""
        nodes = [node for node in graph.nodes if graph.node_params(node)]
        labels = dict.fromkeys(node.block for node in graph.nodes if node.block not in ("", "stem", "head"))
        if len(labels) != len(self.paths):
            return None
        places: dict[str, str] = {}
        for label, path in zip(labels, self.paths, strict=True):
            places |= self._block(label, path, {_role(node) for node in graph.nodes if node.block == label})
        places |= self.modules
        if any(node.name not in places for node in nodes):
            return None
        return {node.name: tuple(places[node.name].split(" or ")) for node in nodes}

    def _block(self, label: str, path: str, roles: set[str]) -> dict[str, str]:
        present = [slot for slot in self.slots if ALWAYS in slot or roles & slot.keys()]
        return {
            f"{label}.{role}": forms.format(at=path, i=i)
            for i, slot in enumerate(present)
            for role, forms in slot.items()
        }


def _role(node: Node) -> str:
    return node.name.removeprefix(f"{node.block}.")


def _paths(prefix: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in numbers)


def _stages(form: str, blocks: Iterable[int], first: int = 1) -> tuple[str, ...]:
    """Paths of blocks counted anew in each stage."""
    return tuple(form.format(stage, block) for stage, n in enumerate(blocks, first) for block in range(n))


_STEM = {"stem.conv": "features.0.0", "stem.conv_bn": "features.0.1"}
_V3_SLOTS = (
    {"expand": "{at}.block.{i}.0", "expand_bn": "{at}.block.{i}.1"},
    {"depthwise": "{at}.block.{i}.0", "depthwise_bn": "{at}.block.{i}.1"},
    {"reduce": "{at}.block.{i}.fc1", "excite": "{at}.block.{i}.fc2"},
    {"project": "{at}.block.{i}.0", "project_bn": "{at}.block.{i}.1"},
)
_FIRE = {
    role: f"{{at}}.{role}"
    for role in ("squeeze_bn", "squeeze", "expand1x1_bn", "expand1x1", "expand3x3_bn", "expand3x3")
}
_RESNET = {
    "conv1": "{at}.conv1",
    "conv1_bn": "{at}.bn1",
    "conv2": "{at}.conv2",
    "conv2_bn": "{at}.bn2",
    "reduce": "{at}.conv1",
    "reduce_bn": "{at}.bn1",
    "conv": "{at}.conv2",
    "conv_bn": "{at}.bn2",
    "expand": "{at}.conv3",
    "expand_bn": "{at}.bn3",
    "shortcut": "{at}.downsample.0",
    "shortcut_bn": "{at}.downsample.1",
}
_RESNET_ENDS = {"stem.conv": "conv1", "stem.conv_bn": "bn1", "head.logits": "fc"}


def _v3(name: str, blocks: int) -> Naming:
    head = {
        "head.conv": f"features.{blocks + 1}.0",
        "head.conv_bn": f"features.{blocks + 1}.1",
        "head.features": "classifier.0",
        "head.logits": "classifier.3",
    }
    return Naming(name, _STEM | head, _paths("features.", range(1, blocks + 1)), _V3_SLOTS)


NAMINGS = (
    Naming(
        "torchvision's MobileNetV2",
        _STEM | {"head.conv": "features.18.0", "head.conv_bn": "features.18.1", "head.logits": "classifier.1"},
        _paths("features.", range(1, 18)),
        (
            {"expand": "{at}.conv.{i}.0", "expand_bn": "{at}.conv.{i}.1"},
            {"depthwise": "{at}.conv.{i}.0", "depthwise_bn": "{at}.conv.{i}.1"},
            {"project": "{at}.conv.{i}"},
            {"project_bn": "{at}.conv.{i}"},
        ),
    ),
    _v3("torchvision's MobileNetV3 large", 15),
    _v3("torchvision's MobileNetV3 small", 11),
    Naming(
        "torchvision's MnasNet",
        {
            "stem.conv": "layers.0",
            "stem.conv_bn": "layers.1",
            # The first block is none of its own there.
            "block1.depthwise": "layers.3",
            "block1.depthwise_bn": "layers.4",
            "block1.project": "layers.6",
            "block1.project_bn": "layers.7",
            "head.conv": "layers.14",
            "head.conv_bn": "layers.15",
            "head.logits": "classifier.1",
        },
        ("", *_stages("layers.{}.{}.layers", (3, 3, 3, 2, 4, 1), 8)),
        (
            {"expand": "{at}.{i}"},
            {"expand_bn": "{at}.{i}"},
            {"expand_act": ""},
            {"depthwise": "{at}.{i}"},
            {"depthwise_bn": "{at}.{i}"},
            {"depthwise_act": ""},
            {"project": "{at}.{i}"},
            {"project_bn": "{at}.{i}"},
        ),
    ),
    Naming(
        "torchvision's SqueezeNet 1.0",
        {"stem.conv": "features.0", "head.logits": "classifier.1"},
        _paths("features.", (3, 4, 5, 7, 8, 9, 10, 12)),
        (_FIRE,),
    ),
    Naming(
        "torchvision's SqueezeNet 1.1",
        {"stem.conv": "features.0", "head.logits": "classifier.1"},
        _paths("features.", (3, 4, 6, 7, 9, 10, 11, 12)),
        (_FIRE,),
    ),
    Naming("torchvision's ResNet-18", _RESNET_ENDS, _stages("layer{}.{}", (2, 2, 2, 2)), (_RESNET,)),
    Naming("torchvision's ResNet-50", _RESNET_ENDS, _stages("layer{}.{}", (3, 4, 6, 3)), (_RESNET,)),
    Naming(
        "torchvision's VGG-16",
        {"head.dense1": "classifier.0", "head.dense2": "classifier.3", "head.logits": "classifier.6"},
        _paths("features.", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        ({"conv": "{at}"},),
    ),
    Naming(
        "MicroBotNet",
        _STEM
        | {
            "head.conv": "features.11.0",
            "head.conv_bn": "features.11.1",
            "head.features": "features.13",
            "head.logits": "classifier.1",
        },
        _paths("features.", range(1, 11)),
        (
            {"expand": "{at}.conv.{i}"},
            {"expand_bn": "{at}.conv.{i}"},
            {"expand_act": ""},
            {"depthwise": "{at}.conv.{i}"},
            {"depthwise_bn": "{at}.conv.{i}"},
            {"reduce": "{at}.conv.{i}.fc.0", "excite": "{at}.conv.{i}.fc.2", ALWAYS: ""},
            {"depthwise_act": ""},
            {"project": "{at}.conv.{i}"},
            {"project_bn": "{at}.conv.{i} or {at}.conv.{i}.lastBN"},
        ),
    ),
    Naming(
        "MicroBotNet's authors' SqueezeNet",
        {"stem.conv": "features.0", "stem.conv_bn": "features.1", "head.logits": "classifier.1"},
        _paths("features.", (4, 5, 7, 8, 10, 11, 12, 13)),
        (_FIRE,),
    ),
    Naming(
        "Keras's MobileNetV1",
        {"stem.conv": "conv1", "stem.conv_bn": "conv1_bn", "head.logits": "conv_preds"},
        _paths("", range(1, 14)),
        (
            {"depthwise": "conv_dw_{at}", "depthwise_bn": "conv_dw_{at}_bn"},
            {"project": "conv_pw_{at}", "project_bn": "conv_pw_{at}_bn"},
        ),
    ),
)
"""Every naming that is tried, beside the names of the zoo's own nodes."""

OWN = "the network's own names"


def candidates(graph: Graph) -> list[tuple[str, Modules]]:
    """Every naming that fits the graph's structure, and what it calls the graph's nodes."""
    fitting = [(naming.name, modules) for naming in NAMINGS if (modules := naming.of(graph)) is not None]
    return [*fitting, (OWN, {node.name: (node.name,) for node in graph.nodes if graph.node_params(node)})]
