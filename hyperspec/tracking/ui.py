"""Open MLflow's own UI over a store, with two processes instead of fifteen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperspec.tracking.client import artifact_root, resolve_uri
from hyperspec.tracking.health import database_path
from hyperspec.utils.errors import TrackingError

# Opens on training runs; MLflow's own first page is about chat traces.
_PAGE = "#/experiments?workflowType=machine_learning"


@dataclass(frozen=True)
class UiCommand:
    """What to start, with which additions to the environment, and where it will answer."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    url: str


def ui_command(uri: str, host: str = "127.0.0.1", port: int = 5000) -> UiCommand:
    """Return the command that serves a store at a port, 1 to 65535.

    Raises:
        TrackingError: If the store is a server already, or there is no such file.
    """
    address = resolve_uri(uri)
    if address.startswith("http"):
        raise TrackingError(
            f"tracking.uri={address} is a tracking server with a UI of its own: open it in a "
            "browser."
        )
    database = database_path(address)
    if database is not None and not database.exists():
        raise TrackingError(
            f"There is no tracking store at {database}. Run a training first, or name the store "
            "with --uri sqlite:////folder/mlflow.db."
        )
    if not 1 <= port <= 65535:
        raise TrackingError(f"--port {port} is outside 1 to 65535; 5000 is the usual one.")
    words = [sys.executable, "-m", "mlflow", "server"]
    words += ["--backend-store-uri", address, "--host", host, "--port", str(port), "--workers", "1"]
    root = artifact_root(address)
    if root is not None:
        words += ["--default-artifact-root", root.as_uri(), "--no-serve-artifacts"]
    # Job execution starts a dozen more processes, for features that no sweep uses.
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    readable = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return UiCommand(tuple(words), off, f"http://{readable}:{port}")


def launch_ui(uri: str, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve the UI until it is interrupted; return the server's exit status.

    Raises:
        TrackingError: See :func:`ui_command`.
    """
    command = ui_command(uri, host, port)
    print(f"MLflow UI: {command.url}/{_PAGE}  (Ctrl-C ends it)", flush=True)
    # Started where the store lies: MLflow writes a folder of its own into the current one.
    database = database_path(resolve_uri(uri))
    folder = database.parent if database is not None else Path.cwd()
    environment = {**os.environ, **command.environment}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with subprocess.Popen(command.words, env=environment, cwd=folder) as server:
            try:
                return server.wait()
            except KeyboardInterrupt:
                server.terminate()
                server.wait()
                return 0
    finally:
        signal.signal(signal.SIGTERM, before)
