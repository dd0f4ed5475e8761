"""The run of a process that trains beside the one that writes: it takes all and keeps nothing."""

from __future__ import annotations

from hyperspec.tracking.run import JobRun, Status


class NullRun(JobRun):
    """What code that logs is given where another process logs the same: no store, no files."""

    def __init__(self, name: str, run_id: str) -> None:
        # Not the parent's: that opens a journal and a thread.
        self.name, self.run_id = name, run_id
        self.status = "RUNNING"
        self.last = {}

    @property
    def stored_id(self) -> str | None:
        """Identity of the run."""
        return self.run_id

    def _pass(self, *args: object, **words: object) -> None:
        """Keep nothing."""

    set_tags = log_params = log_metrics = log_datasets = copy_from = secure = _pass
    log_artifact = log_text = log_bytes = log_dict = log_figure = _pass

    def flush(self) -> bool:
        """Nothing ever waits."""
        return True

    def finish(self, status: Status = "FINISHED", reason: str | None = None) -> None:
        """Note the status."""
        self.status = status

    def fail(self, error: BaseException) -> None:
        """Note the status."""
        self.status = "FAILED"
