"""Each call where a system lacks it; `tests/test_other_systems.py` runs the whole without them."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from hyperspec.utils import system_calls
from hyperspec.utils.process import is_dead


@pytest.mark.parametrize("absent", [(), ("preadv",), ("preadv", "pread")])
def test_a_file_is_read_from_any_place_by_many_threads(
    absent: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in absent:
        monkeypatch.delattr(os, name, raising=False)
    content = bytes(range(256)) * 40 + b"\r\n\x1a\n"  # marks that a text on Windows would lose
    file = tmp_path / "bytes"
    file.write_bytes(content)
    descriptor = system_calls.open_to_read(file)
    try:

        def piece(offset: int) -> bytes:
            target = bytearray(100)
            count = system_calls.read_at(descriptor, memoryview(target), offset)
            return bytes(target[:count])

        places = [*range(0, len(content), 7), len(content)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(piece, places)) == [content[at : at + 100] for at in places]
    finally:
        os.close(descriptor)


def test_without_the_module_resource_there_is_a_peak_and_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any, **words: Any) -> Any:
        if name == "resource":
            raise ImportError(name)
        return real(name, *more, **words)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert system_calls.most_open_files() is None
    resident = psutil.Process().memory_info().rss
    assert 0.5 < system_calls.peak_resident_bytes() / resident < 2


def test_the_peak_of_a_mac_is_in_bytes_and_others_in_kilobytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Resource:
        RUSAGE_SELF = 0

        @staticmethod
        def getrusage(_: int) -> Any:
            return type("Usage", (), {"ru_maxrss": 3_000_000})

    monkeypatch.setattr(system_calls, "_resource", lambda: Resource)
    for platform, peak in (("darwin", 3_000_000), ("linux", 3_072_000_000)):
        monkeypatch.setattr(sys, "platform", platform)
        assert system_calls.peak_resident_bytes() == peak


@pytest.mark.parametrize("absent", [(), ("pthread_kill",)])
def test_the_main_thread_is_interrupted_from_another(
    absent: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in absent:
        monkeypatch.delattr(signal, name, raising=False)
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: came.set())
    try:
        other = threading.Thread(target=system_calls.interrupt_main_thread, args=[signal.SIGINT])
        other.start()
        other.join()
        assert came.wait(60)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_is_known_by_its_start_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperspec.utils.process._machine", lambda: ("-", "-"))
    from hyperspec.utils.process import host_name, process_tag

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        tag = process_tag(other.pid)
        assert tag == process_tag(other.pid)
        assert tag != process_tag()
        assert not is_dead(host_name(), tag)
    assert is_dead(host_name(), tag)


def test_only_where_processes_send_signals_one_is_asked_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Process:
        sent: list[int] = []  # noqa: RUF012

        def send_signal(self, number: int) -> None:
            self.sent.append(number)

    for system in ("posix", "nt"):
        monkeypatch.setattr(system_calls.os, "name", system)
        system_calls.ask_to_leave(Process())  # type: ignore[arg-type]
    assert Process.sent == [signal.SIGINT]
