"""Where processes listen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

import psutil


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return address and port of each socket on which one of the processes waits for others."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for socket in process.net_connections("inet"):
                if socket.status == psutil.CONN_LISTEN:
                    found.add((socket.laddr.ip, socket.laddr.port))
    return found


def is_loopback(address: str) -> bool:
    """Say whether only processes of this machine reach an address."""
    ip = ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback
