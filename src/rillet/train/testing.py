"""Loss and accuracy of a module on the test set, split over the processes."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rillet.ir.graph import Array
from rillet.train import parallel
from rillet.train.data import Share, ahead
from rillet.train.pictures import Pictures


def loss_and_top1(
    module: nn.Module, test: Pictures, batch: int, to_input: Callable[[Array], Tensor], share: Share
) -> tuple[float, float]:
    """Mean cross-entropy and top-1 of `module`, in eval mode; pictures that cannot be decoded are left out.

    to_input: the network's input for bytes of N x height x width x channels. Raises GraphError where none is left.
    """
    module.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.inference_mode():
        for pixels, numbers in _chunks(test, max(1, batch // share.world), share):
            image = to_input(pixels)
            labels = torch.from_numpy(numbers).to(image.device)
            made = module(image).float()
            loss = F.cross_entropy(made, labels, reduction="sum")
            right = (made.argmax(1) == labels).sum()
            sums += torch.stack([loss.double(), right.double(), torch.tensor(len(labels)).to(loss)]).cpu()
    # NCCL adds up what lies on GPUs alone.
    device = next(module.parameters()).device
    sums = parallel.total(sums.to(device), share).cpu()
    if sums[2] == 0:
        test.near(0)
    return float(sums[0] / sums[2]), float(sums[1] / sums[2])


def _chunks(test: Pictures, size: int, share: Share) -> Iterator[tuple[Array, npt.NDArray[np.int64]]]:
    rows = range(share.rank, len(test), share.world)

    def pictures(some: Sequence[int]) -> tuple[list[Array], list[int]]:
        found = {row: test.at(row) for row in some}
        good = {row: picture for row, picture in found.items() if picture is not None}
        return list(good.values()), list(good)

    for found, numbers in ahead(pictures, [rows[i : i + size] for i in range(0, len(rows), size)]):
        if found:
            yield np.stack(found), test.data.labels[numbers]
