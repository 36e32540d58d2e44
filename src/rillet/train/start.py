"""The initial network of a training run: resolution, last layer, constants and initial weights."""

from dataclasses import replace

import torch

from rillet.data.datasets import Dataset
from rillet.data.images import contract
from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import is_batch_norm, is_softmax
from rillet.ir.graph import Graph
from rillet.ir.inputs import sole_input
from rillet.train.modules import TorchNetwork, from_module, to_module
from rillet.train.recipe import Recipe
from rillet.transforms.fold import fold
from rillet.transforms.quantize import check_float
from rillet.transforms.quotients import as_products
from rillet.transforms.resize import last_convolution, with_classes, with_resolution


def started(graph: Graph, data: Dataset, recipe: Recipe, seed: int) -> Graph:
    """The network, with weights, as a recipe begins: at its resolution, with a new head, batch norms as it says.

    Weights that are not there are drawn by `seed`. Raises GraphError where classes do not fit, Unsupported for what
    cannot be trained.
    """
    contract(graph)
    sole_input(graph, "to be trained")
    classes = len(data.classes)
    if recipe.run.upscale:
        graph = with_resolution(graph, recipe.run.upscale, recipe.run.upscale)
    if recipe.start.new_head:
        graph = with_classes(graph, classes, seed)
    output = graph.by_name[graph.outputs[0]].shape
    if len(graph.outputs) != 1 or output.pixels != 1:
        raise Unsupported(f"{graph.name}: must end in a vector of classes to be trained, got {output}")
    if output.elements != classes:
        joint = "," if "=" in graph.name else ":"
        raise GraphError(
            f"{graph.name}: must have {classes} classes as {data.name} has, got {output.elements}; "
            f"say {graph.name}{joint}classes={classes}"
        )
    if recipe.batch_norm.epsilon:
        graph = _with_epsilon(graph, recipe.batch_norm.epsilon)
    graph = graph.with_image(replace(contract(graph), labels=data.classes, detail=_detail(graph, data)))
    if graph.params:
        return graph
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return from_module(to_module(graph), graph)


def foldable(graph: Graph) -> Graph:
    """The network as integers are made of it; raises GraphError or Unsupported, naming the node, where it cannot be."""
    if not graph.params:
        raise GraphError(f"{graph.name}: must have trained weights to learn to be quantised: say --weights FILE")
    sole_input(graph, "to be trained")
    folded = as_products(fold(graph))
    check_float(folded)
    return folded


def _detail(graph: Graph, data: Dataset) -> int:
    """The side of the data's pictures, where the network's are larger."""
    spec = contract(graph)
    side = 0 if data.stored is None else min(data.stored.shape[1:3])
    return side if side < min(spec.height, spec.width) else 0


def logits(graph: Graph) -> Graph:
    """The network without the softmax it may end in, whose weights have the same names."""
    last = graph.by_name[graph.outputs[0]]
    if not is_softmax(last.op):
        return graph
    nodes = tuple(node for node in graph.nodes if node is not last)
    return Graph(graph.name, nodes, last.inputs, graph.params, graph.image, graph.shared)


def freeze(module: TorchNetwork, graph: Graph) -> None:
    """Leaves only the last layer to be trained."""
    head = last_convolution(graph).name
    module.requires_grad_(False)
    module.get_submodule(head).requires_grad_(True)


def _with_epsilon(graph: Graph, epsilon: float) -> Graph:
    nodes = tuple(
        replace(node, op=replace(node.op, epsilon=epsilon)) if is_batch_norm(node.op) else node for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
