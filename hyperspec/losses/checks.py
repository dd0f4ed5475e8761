"""Checks that several losses share."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hyperspec.utils.errors import ConfigError


def check_term_weights(global_weight: float, local_weight: float) -> None:
    """Raise :class:`ConfigError` unless both are finite, at least 0, and one is above 0."""
    weights = {"global_weight": global_weight, "local_weight": local_weight}
    _check_terms(weights, "0.6 global and 0.4 local by default")
    if global_weight == local_weight == 0:
        raise ConfigError(
            "loss.global_weight and loss.local_weight are both 0, so nothing would be learned: "
            "set at least one above 0."
        )


def check_queue_size(queue_size: int) -> None:
    """Raise :class:`ConfigError` if the queue's size is below 0."""
    if queue_size < 0:
        raise ConfigError(
            f"loss.queue_size={queue_size} is out of range: use 0 for no queue, or the number of "
            "earlier embeddings to remember."
        )


def check_weights(invariance: float, variance: float, covariance: float) -> None:
    """Raise :class:`ConfigError` unless VICReg's weights are finite and at least 0."""
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    _check_terms(weights, "the paper's are 25, 25 and 1")


def _check_terms(weights: Mapping[str, float], usual: str) -> None:
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"loss.{name}={weight:g} is out of range: it weighs a term of the loss, so use a "
                f"finite number of at least 0 ({usual})."
            )


def check_temperature(temperature: float, key: str = "loss.temperature") -> None:
    """Raise :class:`ConfigError` unless the temperature is finite and above 0."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            f"{key}={temperature:g} is out of range: similarities are divided by it, so "
            "use a finite number above 0, usually 0.05 to 0.2."
        )
