"""Open MLflow's own UI over a store, with two processes instead of fifteen."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hyperspec.tracking.client import artifact_root, open_client, resolve_uri
from hyperspec.tracking.database import check_runs_database
from hyperspec.tracking.health import check_exists, database_path, shown
from hyperspec.tracking.relocation import mend_addresses
from hyperspec.tracking.saved_view import newest_page
from hyperspec.utils.errors import TrackingError


@dataclass(frozen=True)
class UiCommand:
    """What to start, with which additions to the environment, and where it will answer."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    url: str


def ui_command(uri: str | None, host: str = "127.0.0.1", port: int = 5000) -> UiCommand:
    """Return the command that serves a store at a port, 1 to 65535, another if that is taken.

    Raises:
        TrackingError: If the store is a server already, or there is no such file, or no port.
    """
    address = resolve_uri(uri)
    if address.startswith("http"):
        raise TrackingError(
            f"tracking.uri={shown(address)} is a tracking server with a UI of its own: open it in "
            "a browser."
        )
    check_exists(address)
    if not 1 <= port <= 65535:
        raise TrackingError(f"--port {port} is outside 1 to 65535; 5000 is the usual one.")
    check_runs_database(address)
    if (database := database_path(address)) is not None:
        mend_addresses(database)
    port = _free_port(host, port)
    words = [sys.executable, "-m", "mlflow", "server"]
    words += ["--backend-store-uri", address, "--host", host, "--port", str(port), "--workers", "1"]
    root = artifact_root(address)
    if root is not None:
        words += ["--default-artifact-root", root.as_uri(), "--no-serve-artifacts"]
    # Job execution starts a dozen more processes, for features that no sweep uses.
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    readable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - not bound to
    return UiCommand(tuple(words), off, f"http://{readable}:{port}")


def _free_port(host: str, port: int) -> int:
    """Return the port, or one that is free where another program has it; told in a line."""
    for wanted in (port, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name != "nt":  # where it would let two programs have one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself
            try:
                probe.bind((host, wanted))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise TrackingError(
                        f"--host {host} --port {port}: {error.strerror}."
                    ) from error
                print(f"port {port} is in use; the UI takes a free one", flush=True)
                continue
            return int(probe.getsockname()[1])
    raise TrackingError(f"--host {host}: no port is free.")


def _readers(host: str) -> str:
    """Say who can open what a server at this interface shows."""
    found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    if all(ipaddress.ip_address(address).is_loopback for address in found):
        return "on this machine alone; --host lets others in"
    return "no password, for all who reach this machine"


def launch_ui(
    uri: str | None, host: str = "127.0.0.1", port: int = 5000, *, browser: bool = False
) -> int:
    """Serve the UI until it is interrupted; return the server's exit status.

    Its address leads to the runs that were trained last; ``browser`` opens it there.

    Raises:
        TrackingError: See :func:`ui_command`.
    """
    command = ui_command(uri, host, port)
    page = f"{command.url}/{newest_page(open_client(resolve_uri(uri)))}"
    print(f"MLflow UI: {page}  ({_readers(host)}; Ctrl-C ends it)", flush=True)
    # Started where the store lies: MLflow writes a folder of its own into the current one.
    database = database_path(resolve_uri(uri))
    folder = database.parent if database is not None else Path.cwd()
    environment = {**os.environ, **command.environment}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with subprocess.Popen(command.words, env=environment, cwd=folder) as server:
            if browser:
                threading.Thread(target=_open_browser, args=(page, server), daemon=True).start()
            try:
                return server.wait()
            except KeyboardInterrupt:
                server.terminate()
                server.wait()
                return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_browser(page: str, server: subprocess.Popen[bytes]) -> None:
    """Open a page as soon as its server answers."""
    place = urlsplit(page)
    while server.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((place.hostname, place.port), timeout=1).close()
            webbrowser.open(page)
            return
        time.sleep(0.2)
