from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from hyperspec.tracking.health import has_experiment


@dataclass(frozen=True)
class Study:
    """Quick settings on 32 small specimens, and what a test's commands left behind."""

    words: list[str]
    folder: Path
    uri: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def runs(self) -> list[Run]:
        """All runs of the test, oldest first."""
        if not has_experiment(self.uri, self.folder.name):
            return []  # no client meets tables that are being made
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.folder.name)
        if experiment is None:
            return []
        order = ["attributes.start_time ASC"]
        return list(client.search_runs([experiment.experiment_id], order_by=order))

    def jobs(self) -> list[Run]:
        """The runs that are no sweeps."""
        return [run for run in self.runs() if run.data.tags["hyperspec.kind"] == "job"]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a process of its own; what still runs is killed when the test ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "hyperspec.cli.train", *self.words, *words],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """Kill what was started, and all below it."""
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
