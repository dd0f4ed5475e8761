"""Reading NumPy's files from several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Read = TypeVar("_Read")

_TIMES = 20  # one reading in some hundreds fails where the collector runs all the time


def read_npy(read: Callable[[], _Read]) -> _Read:
    """Read a ``.npy`` or ``.npz`` file with NumPy, again where Python's parser failed.

    NumPy parses the header of an array as Python. Before Python 3.11.8 and 3.12.2 two threads that
    parse at one time may both get a ``SystemError`` about the depth of recursion, when the garbage
    collector runs Python code meanwhile (https://github.com/python/cpython/issues/106905). It says
    nothing about the file.

    Args:
        read: Opens the file and reads it; called until it raises no ``SystemError``.
    """
    for _ in range(_TIMES - 1):
        try:
            return read()
        except SystemError:
            continue
    return read()
