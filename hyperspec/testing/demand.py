"""What every public check does when a promise is broken."""

from __future__ import annotations

from collections.abc import Callable

from hyperspec.utils.errors import HyperspecError


def demand(kept: bool, promise: str) -> None:
    """Raise AssertionError with the promise unless it is kept; ``python -O`` checks it too."""
    if not kept:
        raise AssertionError(promise)


def demand_refusal(call: Callable[[], object], says: str, promise: str) -> None:
    """Demand that a call raises an error of the package whose text holds some words."""
    try:
        call()
    except HyperspecError as error:
        demand(says in str(error), f"{promise}, and says '{says}'; it says: {error}")
    else:
        raise AssertionError(promise)
