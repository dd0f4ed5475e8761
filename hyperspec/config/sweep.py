"""The typed options of ``sweep`` and ``search``: how jobs are run, and what a search tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import one_of


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
    when_busy: str = "wait"
    """When the same command runs already: `wait` for each of its jobs and take the results, `join`
    it (the jobs in another order, so that the two share the work; several processes only), or
    `refuse`."""
    changed: str = "refuse"
    """When the folder or the study was begun with something else (space, config, data, versions):
    `refuse` with the differences, or `fork` to a folder or study beside it."""
    live: str = "auto"
    """View of the sweep while it runs: `rich` (a screen), `plain` (a line per job), `off`, or
    `auto`: a screen on a terminal, else lines."""
    report: bool = True
    """Write the report when the sweep ends; without it, `hyperspec report` writes it later."""
    margin: float = 0.02
    """Difference of accuracy that does not matter, above 0 and below 1: what the report's 'as good
    as' means. Kept with the sweep when it begins, so that it is fixed before any result."""

    def __post_init__(self) -> None:
        if self.max_failures is not None and self.max_failures < 1:
            raise ConfigError(
                f"sweep.max_failures is {self.max_failures}; give at least 1, or null to never "
                "give up."
            )
        one_of("sweep.when_busy", self.when_busy, ("wait", "join", "refuse"))
        one_of("sweep.changed", self.changed, ("refuse", "fork"))
        one_of("sweep.live", self.live, ("auto", "rich", "plain", "off"))
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


@dataclass
class SearchConfig:
    """What a search asks of its trials; ``search=tpe`` and the like choose the search itself.

    Raises:
        ConfigError: If a value is outside its range.
    """

    seeds: int = 1
    """Jobs of one trial, with `seed`, `seed+1`, ...; the study is told one value of them all."""
    tell: str = "mean"
    """`mean` of the seeds, or `lower`: the lower end of a one-sided interval of the mean."""
    confidence: float = 0.8
    """Confidence of that lower end, 0.5 to 1, both excluded."""
    branches: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """Parameters that a choice brings along: searched key, its value, then keys and ranges."""
    retry_failed: bool = True
    """Run the trials again that failed in earlier starts of the command, each once per start; false
    draws others in their place."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"search.seeds is {self.seeds}; give at least 1 job per trial.")
        one_of("search.tell", self.tell, ("mean", "lower"))
        if self.tell == "lower" and self.seeds < 2:
            raise ConfigError(
                f"search.tell=lower needs search.seeds of at least 2, not {self.seeds}: one job "
                "says nothing about how seeds differ."
            )
        if not 0.5 < self.confidence < 1:
            raise ConfigError(
                f"search.confidence is {self.confidence:g}; give a share above 0.5 and below 1."
            )
