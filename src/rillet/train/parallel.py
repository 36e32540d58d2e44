"""Data-parallel training: the process group, processes on this machine, and synchronised batch norms."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from rillet.errors import BuildError
from rillet.train.data import Share

START_SECONDS = 120
_HERE = "127.0.0.1"
_PORT = "RILLET_STORE_PORT"
"""Where processes that `companions` started meet; torchrun has variables of its own."""


@contextmanager
def group(device: torch.device) -> Generator[Share]:
    """Which of several processes this is, as torchrun says it (RANK, WORLD_SIZE); they are joined until the end.

    By NCCL on GPUs, else by Gloo.
    """
    world, backend = int(os.environ.get("WORLD_SIZE", "1")), "nccl" if device.type == "cuda" else "gloo"
    if world == 1:
        yield Share()
        return
    if _PORT in os.environ:
        store = TCPStore(_HERE, int(os.environ[_PORT]), world, False, timedelta(seconds=START_SECONDS))
        dist.init_process_group(backend, store=store, rank=int(os.environ["RANK"]), world_size=world)
    else:
        dist.init_process_group(backend)
    try:
        yield Share(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()


def local_rank() -> int:
    """Which of this machine's processes this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def companions(processes: int, words: Sequence[str]) -> Generator[None]:
    """Makes this process the first of `processes` that all run `rillet WORDS`, on this machine.

    Raises BuildError, with what it said, where one of the others ends early.
    """
    # The store finds a free port by itself and holds it, so that nobody takes it in between.
    store = TCPStore(_HERE, 0, processes, True, timedelta(seconds=START_SECONDS), wait_for_workers=False)
    ours = {_PORT: str(store.port), "WORLD_SIZE": str(processes), "RANK": "0", "LOCAL_RANK": "0"}
    before = {key: os.environ.get(key) for key in ours}
    with tempfile.TemporaryFile() as errors:
        others: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(1, processes):
                env = {**os.environ, **ours, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                command = [sys.executable, "-m", "rillet", *words]
                others.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors))
            os.environ.update(ours)
            try:
                yield
            except (RuntimeError, dist.DistError) as error:
                raise BuildError(f"the processes must all go on; one said: {_last_line(errors, error)}") from None
        finally:
            for other in others:
                try:
                    other.wait(5 if sys.exc_info()[0] is None else 0.5)
                except subprocess.TimeoutExpired:
                    other.kill()
                    other.wait()
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


def _last_line(errors: Any, error: Exception) -> str:
    """The last message of a process that ended, or else this process's own error."""
    errors.seek(0)
    lines = [line for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("rillet: ")]
    return (ours or lines or [str(error)])[-1].removeprefix("rillet: ")


def total(values: Tensor, share: Share) -> Tensor:
    """The sum of `values` over all processes."""
    if share.world > 1:
        dist.all_reduce(values)
    return values


@torch.no_grad()
def copy_from_first(module: nn.Module, share: Share) -> None:
    """Gives every process the weights and statistics of the first."""
    if share.world > 1:
        for value in module.state_dict().values():
            dist.broadcast(value, 0)


def synced(module: nn.Module, device: torch.device) -> None:
    """Gives the batch norms of `module` the statistics of all processes, names and weights as they are."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for name, norm in list(module.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.momentum is not None
            other = SyncedBatchNorm(norm.num_features, norm.eps, norm.momentum)
            # The tensors themselves, which other layers may share.
            for key, value in (*norm.named_parameters(), *norm.named_buffers()):
                setattr(other, key, value)
            module.set_submodule(name, other)


class SyncedBatchNorm(nn.BatchNorm2d):
    """A batch norm over the batches of all processes, which are of one size, on CPUs; PyTorch's own needs a GPU."""

    def forward(self, input: Tensor) -> Tensor:
        """The normalised map."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        made, mean, variance = _Normalized.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            count = dist.get_world_size() * input.numel() // input.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return made


class _Normalized(torch.autograd.Function):
    """Normalisation by mean and variance of all processes (Ioffe and Szegedy, arXiv:1502.03167)."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised map, the mean and the variance."""
        value, weight, bias, epsilon = args
        # The kernels of PyTorch's batch norm: many times faster than sums over three dimensions.
        own = torch.stack(torch.batch_norm_update_stats(value, None, None, 0.0)).float()
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        means, variances = torch.stack(parts, 1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(value, weight, mean, variance)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        made = nn.functional.batch_norm(value, mean, variance, weight, bias, False, 0.0, epsilon)
        return made, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of the map, of gamma and of beta; those of gamma and beta are this process's part."""
        value, weight, mean, variance = ctx.saved_tensors
        grad = grads[0]
        inverse = torch.rsqrt(variance + ctx.epsilon)
        _, gamma, beta = torch.ops.aten.native_batch_norm_backward(
            grad, value, weight, None, None, mean, inverse, True, ctx.epsilon, [False, True, True]
        )
        sums = torch.stack([gamma, beta])
        dist.all_reduce(sums)
        means = sums / (dist.get_world_size() * value.numel() // value.shape[1])
        scale = weight * inverse
        slope = -scale * inverse * means[0]
        shift = -scale * means[1] - slope * mean
        back = torch.addcmul(shift[:, None, None], value, slope[:, None, None])
        return back.addcmul_(grad, scale[:, None, None]).to(value.dtype), gamma, beta, None
