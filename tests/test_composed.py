"""What importers compose of several nodes: its C program, whole and pushed, gives what the reference gives."""

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

from rillet import from_torch  # noqa: E402
from rillet.plan.rows.planner import plan_rows  # noqa: E402
from rillet.runtime.verify import verify  # noqa: E402


class Composed(nn.Module):
    """Norms, split attention, shuffles, gates, a context, borders and convolutions over channels, one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.over = nn.Conv1d(1, 1, 3, padding=1)
        self.layer, self.group = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        x = self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x.reshape(1, 2, 4, 9, 7).transpose(1, 2).reshape(1, 8, 9, 7)
        both = torch.stack([x, self.branch(x), -x], 1)
        x = (both * both.mean((3, 4), keepdim=True).softmax(1)).sum(1)
        x = self.group(x)
        x = x * self.over(x.mean((2, 3))[:, None]).sigmoid().view(1, 8, 1, 1)
        weights = x.amax(1).flatten(1).softmax(-1)
        x = x + (x.flatten(2) @ weights[..., None])[..., None]
        x = F.avg_pool2d(F.pad(x, (1, 1, 2, 0), mode="reflect"), 2, padding=1, divisor_override=3)
        x = F.pad(x, (0, 1, 1, 0), mode="replicate") * x.mean(3, keepdim=True).mean(2, keepdim=True)
        x = x * torch.cat([x[:, :4, 1:], x[:, :4, :1]], 2).mean(1, keepdim=True)
        return F.log_softmax(self.head(x.mean((2, 3))), 1), F.instance_norm(x)


def test_a_network_of_all_of_them() -> None:
    torch.manual_seed(0)
    done = verify(plan_rows(from_torch(Composed(), torch.zeros(1, 3, 9, 7))), 2)
    assert done.equal, done.first_difference
