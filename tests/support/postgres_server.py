"""A PostgreSQL server on a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Debian keeps the server's programs out of PATH.
PROGRAMS = os.pathsep.join(
    [os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
)


def is_installed() -> bool:
    """Say whether a server can be started."""
    return shutil.which("initdb", path=PROGRAMS) is not None


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server; yield its address without a database. As root it runs as another user."""
    # Not below pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="hyperspec-postgres-"))
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    prefix = as_user if os.getuid() == 0 else []
    if prefix:
        shutil.chown(folder, 65534, 65534)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    environment = {**os.environ, "PATH": PROGRAMS}
    common = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, "env": environment}
    words = ["initdb", "-D", str(data), "-U", "hyperspec", "--auth=trust", "--no-sync"]
    subprocess.run([*prefix, *words], **common)  # type: ignore[call-overload]
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    control = [*prefix, "pg_ctl", "-D", str(data), "-w"]
    log = ["-l", str(folder / "log")]
    subprocess.run([*control, *log, "-o", options, "start"], **common)  # type: ignore[call-overload]
    try:
        yield f"postgresql+psycopg://hyperspec@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **common)  # type: ignore[call-overload]
        shutil.rmtree(folder)


def create_database(server: str, name: str) -> str:
    """Make an empty database and return its address."""
    import psycopg

    plain = server.replace("+psycopg", "")
    with psycopg.connect(f"{plain}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return f"{server}/{name}"
