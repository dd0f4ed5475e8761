"""The run of a process that trains beside the one that writes: it takes all and keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.tracking.run import JobRun, Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hyperspec.tracking.datasets import DataPart


class SilentRun(JobRun):
    """What code that logs is given where another process logs the same: no store, no files.

    Args:
        name: Name of the run that the other process writes.
        run_id: Its identity.
    """

    def __init__(self, name: str, run_id: str) -> None:
        # Not the parent's: that opens a journal and a thread.
        self.name, self.run_id = name, run_id
        self.status = "RUNNING"
        self.last = {}

    @property
    def stored_id(self) -> str | None:
        """Identity of the run."""
        return self.run_id

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Pass over."""

    def log_params(self, params: Mapping[str, str]) -> None:
        """Pass over."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Pass over."""

    def log_datasets(self, parts: Sequence[DataPart]) -> None:
        """Pass over."""

    def copy_from(
        self,
        run_id: str,
        until_step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        whole: Sequence[str] = (),
    ) -> None:
        """Pass over."""

    def flush(self) -> bool:
        """Nothing ever waits."""
        return True

    def secure(self) -> None:
        """Nothing ever waits."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Pass over."""

    def log_text(self, text: str, artifact: str) -> None:
        """Pass over."""

    def log_dict(self, value: Mapping[str, object], artifact: str) -> None:
        """Pass over."""

    def log_figure(self, figure: Figure, artifact: str) -> None:
        """Pass over."""

    def finish(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        """Note the status."""
        self.status = status

    def fail(self, error: BaseException) -> None:
        """Note the status."""
        self.status = "FAILED"
