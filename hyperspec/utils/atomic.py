"""Files and folders that are there whole or not at all: written beside, then given their name."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Windows replaces no file that is open: access denied, sharing and lock violation. Readers of ours
# and scanners for viruses are through in less.
_IN_USE, _OPEN_SECONDS = (5, 32, 33), 5.0
PART = ".part"  # ending of what is not whole yet; the name begins with a dot


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write, a file or a folder, that takes the place of another at the end.

    After an error the other is as it was, and nothing is left beside it. A folder takes the place
    of nothing or of an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}{PART}")
    try:
        yield part
        if part.is_dir() and path.is_dir():
            path.rmdir()
        _take_name(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()


def _take_name(part: Path, path: Path) -> None:
    """Give what is written its name; on Windows as soon as nobody has the other one open."""
    deadline = time.monotonic() + _OPEN_SECONDS
    while True:
        try:
            part.replace(path)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def open_replacing(path: Path, *, secure: bool = True, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends without an error.

    Args:
        path: The name that it gets.
        secure: Whether the content is put on the disk first. Else the name may reach the disk
            before it, and a power cut leaves a file of the right name and zeros.
        private: Whether only its owner may read it.
    """

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600 if private else 0o666)  # less what the umask takes

    with replacing(path) as part, open(part, "xb", opener=opened) as file:
        yield file
        if secure:
            file.flush()
            os.fsync(file.fileno())


def write_text(path: Path, text: str, *, secure: bool = False, private: bool = False) -> None:
    """Write a file in one step, as UTF-8, so that nobody reads half of it."""
    with open_replacing(path, secure=secure, private=private) as file:
        file.write(text.encode())
