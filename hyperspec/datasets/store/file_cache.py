"""Files that are kept open between readings, and mapped once they are read again.

A first reading takes large reads (:mod:`hyperspec.utils.pread`): whoever takes the planes once, to
keep them on the training device, shall not have pages of the file counted as its memory too. From
the second on the planes come through a memory map while they are in the page cache, which saves a
system call per run of bands and is as fast as a copy of memory.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.system_calls import most_open_files, open_to_read

# A mapped file takes two descriptors, that of the map included. An eighth of what the process may
# have leaves three quarters for everything else.
_MOST_FILES, _SHARE_OF_LIMIT = 1024, 8


class KeptFile:
    """One open file; it is closed when nobody holds it any more.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = open_to_read(path)
        weakref.finalize(self, os.close, self.descriptor)
        self._size = os.fstat(self.descriptor).st_size
        self._planes: NDArray[np.generic] | None = None
        self.num_uses = 0

    @property
    def is_current(self) -> bool:
        """Whether the file under this name is still this one, and as long as it was.

        A file that was deleted or replaced by a rename has no name left.
        """
        status = os.fstat(self.descriptor)
        return status.st_size == self._size and status.st_nlink > 0

    def planes(
        self, shape: tuple[int, int, int], dtype: np.dtype[np.generic], offset: int
    ) -> NDArray[np.generic] | None:
        """Return the file's content as a map, or None when it is shorter than that.

        Args:
            shape: Planes, lines, samples.
            dtype: Type of the values.
            offset: Where they begin, in bytes.
        """
        if self._planes is None:
            count = shape[0] * shape[1] * shape[2]
            if self._size < offset + count * dtype.itemsize:
                return None
            mapped = mmap.mmap(self.descriptor, self._size, access=mmap.ACCESS_READ)
            self._planes = np.frombuffer(mapped, dtype, count, offset).reshape(shape)
        return self._planes


class KeptFiles:
    """The files read last, open; may be used from several threads and after a fork.

    Without a lock, which a fork could leave locked: each step on the ordered dictionary is atomic.

    Args:
        open_file: Opens what is not kept yet.
        most: How many are kept; by default by the process's limit on open files.
    """

    def __init__(
        self, open_file: Callable[[Path], KeptFile] = KeptFile, most: int | None = None
    ) -> None:
        self._open = open_file
        self._most = most or _most_files()
        self._files: OrderedDict[str, KeptFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def __getstate__(self) -> dict[str, object]:
        """Descriptors and maps stay in their process."""
        return {**self.__dict__, "_files": OrderedDict()}

    def get(self, name: str, path: Callable[[str], Path]) -> KeptFile:
        """Return a file, opened anew when it is not kept or not the same any more.

        Args:
            name: Under which it is kept.
            path: Tells where it lies.

        Raises:
            OSError: If it cannot be opened.
        """
        found = self._files.get(name)
        if found is None or not found.is_current:
            found = self._files[name] = self._open(path(name))
        found.num_uses += 1
        try:
            self._files.move_to_end(name)
            if len(self._files) > self._most:
                self._files.popitem(last=False)
        except KeyError:
            return found  # another thread let it go meanwhile; whoever holds it may read on
        return found

    def let_go(self, name: str) -> None:
        """Let go of a file that is to be replaced, which Windows refuses while it is open."""
        self._files.pop(name, None)

    def release(self) -> None:
        """Let go of all files."""
        self._files.clear()


def _most_files() -> int:
    limit = most_open_files()
    return _MOST_FILES if limit is None else min(_MOST_FILES, max(1, limit // _SHARE_OF_LIMIT))
