"""What training makes small: cross-entropy of labels, perhaps of two pictures in one, and of a teacher's outputs."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from rillet.train.data import Batch
from rillet.train.recipe import Recipe


def batch_loss(made: Tensor, batch: Batch, recipe: Recipe) -> Tensor:
    """The mean loss of a batch for outputs of N x classes, float32, before a softmax."""
    labels = torch.from_numpy(batch.labels).to(made.device)
    smoothing = recipe.loss.label_smoothing
    if batch.others is None or batch.shares is None:
        loss = F.cross_entropy(made, labels, label_smoothing=smoothing)
    else:
        others, shares = (torch.from_numpy(array).to(made.device) for array in (batch.others, batch.shares))
        one, other = (
            F.cross_entropy(made, wanted, label_smoothing=smoothing, reduction="none") for wanted in (labels, others)
        )
        loss = (shares * one + (1 - shares) * other).mean()
    if recipe.distill is None or batch.hints is None:
        return loss
    said = recipe.distill
    taught = distillation(made, torch.from_numpy(batch.hints).to(made.device), said.temperature)
    return (1 - said.weight) * loss + said.weight * taught


def distillation(made: Tensor, hints: Tensor, temperature: float) -> Tensor:
    """The mean divergence of softened outputs from a teacher's, times the square of the temperature.

    Hinton et al., arXiv:1503.02531, section 2; less the entropy of the teacher, which no weight changes.
    """
    soft, wanted = (F.log_softmax(value / temperature, 1) for value in (made, hints))
    return F.kl_div(soft, wanted, reduction="batchmean", log_target=True) * temperature**2
