"""VICReg: no negatives, so that small batches do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.losses.checks import check_weights
from hyperspec.losses.nt_xent import at_least_float32, check_pair
from hyperspec.utils.distributed import gather

TARGET_STD = 1.0  # gamma of the paper's eq. 1
EPSILON = 1e-4  # keeps the root's gradient finite at zero variance; the paper's value


class VicReg(nn.Module):
    """Variance, invariance and covariance regularisation of two views.

    With ``Z``, ``Z'`` the embeddings of both views, shape ``(B, D)``::

        loss = λ mse(Z, Z') + μ [v(Z) + v(Z')] + ν [c(Z) + c(Z')]
        v(Z) = 1/D sum_j max(0, 1 - sqrt(var_j + ε))
        c(Z) = 1/D sum_{i != j} cov_ij²

    The invariance term is the mean over samples and dimensions, as in the paper's algorithm 1 and
    published code, for which its weights were chosen (its eq. 5 sums over dimensions). The
    embeddings must not be L2-normalised: their standard deviation could not reach 1. Under a
    process group all terms are those of the whole batch.

    Args:
        invariance: λ, at least 0.
        variance: μ, at least 0.
        covariance: ν, at least 0.

    Raises:
        ConfigError: If a weight is negative or not finite.

    Source: Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", eq. 1 to 6 and algorithm 1.
    """

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
    ) -> None:
        super().__init__()
        check_weights(invariance, variance, covariance)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Return the loss, a scalar in float32 or wider, of two views ``(B, D)``.

        Raises:
            ConfigError: If the batch over all processes holds one specimen, which has no variance.
        """
        check_pair(z0, z1, "VICReg")
        with torch.autocast(z0.device.type, enabled=False):
            first, second = (gather(at_least_float32(z)).flatten(0, 1) for z in (z0, z1))
            loss = self.invariance * functional.mse_loss(first, second)
            for z in (first, second):
                centred = z - z.mean(dim=0)
                covariance = centred.T @ centred / (len(z) - 1)
                variances = covariance.diagonal()
                hinge = (TARGET_STD - (variances + EPSILON).sqrt()).relu().mean()
                off_diagonal = (covariance.square().sum() - variances.square().sum()) / z.shape[1]
                loss = loss + self.variance * hinge + self.covariance * off_diagonal
            return loss

    def extra_repr(self) -> str:
        """Return the weights, for printing."""
        return (
            f"invariance={self.invariance:g}, variance={self.variance:g}, "
            f"covariance={self.covariance:g}"
        )
