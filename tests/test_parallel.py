"""Batch norms over several processes, on their own; whole runs of two processes are in test_train.py."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from rillet.train.parallel import SyncedBatchNorm, synced


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_one_process_normalises_as_pytorch_does(layout: torch.memory_format) -> None:
    made: list[list[torch.Tensor]] = []
    for cls in (nn.BatchNorm2d, SyncedBatchNorm):
        draw = torch.Generator().manual_seed(0)
        norm = cls(5, momentum=0.3)
        nn.init.normal_(norm.weight, generator=draw)
        value = torch.randn(4, 5, 3, 2, generator=draw).mul(3).add(2).contiguous(memory_format=layout).requires_grad_()
        out = norm(value)
        (out.square() * torch.arange(6.0).view(3, 2)).sum().backward()
        again = norm.eval()(value)
        made.append([out, again, value.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var])
        assert norm.num_batches_tracked == 1
    for one, other in zip(*made, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(one.detach().abs().max()))


def test_names_and_weights_stay() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, 0.5, 0.25)))
    nn.init.normal_(module.get_submodule("1.0").weight)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    synced(module, torch.device("cpu"))
    norm = module.get_submodule("1.0")
    assert isinstance(norm, SyncedBatchNorm) and (norm.eps, norm.momentum) == (0.5, 0.25)
    after = module.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
