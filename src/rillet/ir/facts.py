"""What the code asks of an op in more than one place: each question once, with the ops of which it is true.

An answer narrows the type, so that pyright lists the readers of fields that another op, added here, does not have.
"""

from typing import TypeGuard

from rillet.ir.ops import (
    Activate,
    Add,
    Apply,
    ArgMax,
    BatchNorm,
    Concat,
    Constant,
    Conv,
    DepthToSpace,
    Input,
    Interpolate,
    Multiply,
    Op,
    Pad,
    Pair,
    Pool,
    Requantize,
    Resize,
    Select,
    Slice,
    Softmax,
    SpaceToDepth,
)


def is_input(op: Op) -> TypeGuard[Input]:
    """True of a value that comes from outside with each image."""
    return isinstance(op, Input)


def is_constant(op: Op) -> TypeGuard[Constant]:
    """True of a value that never changes."""
    return isinstance(op, Constant)


def is_given(op: Op) -> TypeGuard[Input | Constant]:
    """True of what nothing computes: it is no layer and has no stage in any plan."""
    return isinstance(op, Input | Constant)


def has_weights(op: Op) -> TypeGuard[Conv]:
    """True of layers whose weights multiply activations: convolutions and dense layers."""
    return isinstance(op, Conv)


def has_window(op: Op) -> TypeGuard[Conv | Pool]:
    """True of ops that combine the values under a window."""
    return isinstance(op, Conv | Pool)


def has_activation(op: Op) -> TypeGuard[Conv | Add | Multiply | Pool]:
    """True of ops that take a clamp in after themselves."""
    return isinstance(op, Conv | Add | Multiply | Pool)


def is_elementwise(op: Op) -> TypeGuard[Add | Multiply | Pair | Activate | Apply | Requantize]:
    """True of ops whose every value needs the values at its own place alone, read before it is written."""
    return isinstance(op, Add | Multiply | Pair | Activate | Apply | Requantize)


def is_pointwise_function(op: Op) -> TypeGuard[Activate | Apply | Requantize]:
    """True of functions of one value, whose type may change."""
    return isinstance(op, Activate | Apply | Requantize)


def joins(op: Op) -> TypeGuard[Add | Multiply | Pair | Concat]:
    """True of ops that bring several values together."""
    return isinstance(op, Add | Multiply | Pair | Concat)


def is_pairwise(op: Op) -> TypeGuard[Add | Multiply]:
    """True of sums and products of two values."""
    return isinstance(op, Add | Multiply)


def is_channelwise(op: Op) -> TypeGuard[Activate | Apply | Pool | Multiply]:
    """True of ops that make each channel of that channel of their inputs, and have no arrays."""
    return isinstance(op, Activate | Apply | Pool | Multiply)


def is_pair(op: Op) -> TypeGuard[Pair]:
    """True of what is made of two values but for sums and products."""
    return isinstance(op, Pair)


def is_select(op: Op) -> TypeGuard[Select]:
    """True of channels in another order."""
    return isinstance(op, Select)


def only_moves(op: Op) -> TypeGuard[Concat | Slice | Select | DepthToSpace | SpaceToDepth | Pad | Resize]:
    """True of ops that put values elsewhere and compute none."""
    return isinstance(op, Concat | Slice | Select | DepthToSpace | SpaceToDepth | Pad | Resize)


def is_interpolation(op: Op) -> TypeGuard[Interpolate]:
    """True of a linear resize, whose pixels come of four."""
    return isinstance(op, Interpolate)


def is_sum(op: Op) -> TypeGuard[Add]:
    """True of a sum or difference."""
    return isinstance(op, Add)


def is_product(op: Op) -> TypeGuard[Multiply]:
    """True of a product of two values."""
    return isinstance(op, Multiply)


def is_pool(op: Op) -> TypeGuard[Pool]:
    """True of a pool of any kind."""
    return isinstance(op, Pool)


def is_function(op: Op) -> TypeGuard[Activate | Apply]:
    """True of a function of each value that stands by itself."""
    return isinstance(op, Activate | Apply)


def is_activation(op: Op) -> TypeGuard[Activate]:
    """True of an activation that stands by itself: one that other ops may have behind themselves."""
    return isinstance(op, Activate)


def is_curve(op: Op) -> TypeGuard[Apply]:
    """True of a function of each value that has numbers of its own."""
    return isinstance(op, Apply)


def is_batch_norm(op: Op) -> TypeGuard[BatchNorm]:
    """True of a batch normalisation that is not folded yet."""
    return isinstance(op, BatchNorm)


def is_requantization(op: Op) -> TypeGuard[Requantize]:
    """True of a change of quantisation or element type alone."""
    return isinstance(op, Requantize)


def is_concat(op: Op) -> TypeGuard[Concat]:
    """True of values side by side."""
    return isinstance(op, Concat)


def is_slice(op: Op) -> TypeGuard[Slice]:
    """True of a part of the channels."""
    return isinstance(op, Slice)


def is_softmax(op: Op) -> TypeGuard[Softmax]:
    """True of a softmax over channels."""
    return isinstance(op, Softmax)


def is_left_to_readers(op: Op) -> TypeGuard[Softmax | ArgMax]:
    """True of last layers that whoever reads a chip's outputs computes: softmax and argmax."""
    return isinstance(op, Softmax | ArgMax)


def is_argmax(op: Op) -> TypeGuard[ArgMax]:
    """True of the place of the greatest channel, the one op whose result is a place and no value of its input."""
    return isinstance(op, ArgMax)
