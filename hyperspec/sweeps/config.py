"""The typed options of the key ``sweep``: how jobs are started, kept and given up."""

from __future__ import annotations

from dataclasses import dataclass

from hyperspec.spectra.errors import ConfigError


@dataclass
class SweepConfig:
    """How a sweep is run. Nothing here changes what a job computes.

    Raises:
        ConfigError: If a value is outside its range.
    """

    resume: bool = True
    """A job of a sweep that some sweep has finished before returns that result without training,
    and an interrupted one goes on from its last checkpoint; false runs every job anew."""
    dry_run: bool = False
    """Compose and check every job, say how many there are, and stop."""
    max_failures: int | None = None
    """Failed jobs after which the rest of the sweep is not started; null never gives up."""
    checkpoint_seconds: float = 60.0
    """Least seconds between checkpoints while training; 0 writes one after every epoch."""
    margin: float = 0.02
    """Difference of accuracy that does not matter, above 0 and below 1: what the report's 'as good
    as' means. Kept with the sweep when it begins, so that it is fixed before any result."""

    def __post_init__(self) -> None:
        if self.max_failures is not None and self.max_failures < 1:
            raise ConfigError(
                f"sweep.max_failures is {self.max_failures}; give at least 1, or null to never "
                "give up."
            )
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(
                f"sweep.checkpoint_seconds is {self.checkpoint_seconds}; give 0 (after every "
                "epoch) or more seconds."
            )
        if not 0 < self.margin < 1:
            raise ConfigError(
                f"sweep.margin is {self.margin:g}; give the largest difference of accuracy that "
                "does not matter, above 0 and below 1, for example 0.02 for 2 points."
            )
