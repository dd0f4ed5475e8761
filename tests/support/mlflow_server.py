from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen


@contextmanager
def mlflow_server(
    folder: Path, store: str, *words: str, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serve a store at a free port of this machine while the block runs; return the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    everything = {**os.environ, **quiet, **(environment or {})}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=everything, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 600
    while not _answers(address):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield address
    process.terminate()
    process.wait(60)


def _answers(address: str) -> bool:
    try:
        urlopen(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True
