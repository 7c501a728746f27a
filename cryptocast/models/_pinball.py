"""The loss of every network here: the pinball loss, a mean over levels, steps and origins."""

from __future__ import annotations

import torch
from torch import Tensor


def pinball(quantiles: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss (times 2) of [N, H, Q] against [N, H]; NaN targets are left out."""
    known = torch.isfinite(targets)
    error = torch.where(known, targets, 0.0)[..., None] - quantiles
    loss = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return (loss * known).sum() / known.sum().clamp(min=1)
