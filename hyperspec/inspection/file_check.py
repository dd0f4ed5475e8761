"""One file of a check: opened, measured and summed, whatever it is."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from hyperspec.cubes.open import open_with_own_axis
from hyperspec.datasets.catalogue.checksums import ChecksumCache
from hyperspec.datasets.catalogue.file_state import content_digest, num_bytes
from hyperspec.inspection.findings import Look
from hyperspec.inspection.value_statistics import measure
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import HyperspecError


class Looker:
    """Looks at files from several threads; warnings become part of what was seen.

    A context manager: while it is entered, warnings of the whole process go to the file whose
    thread raised them (the filters of `warnings` belong to the process, so they are changed once
    for all threads).

    Args:
        axis: Axis of cubes whose headers have no wavelengths.
        saturation: Stored value from which on values are saturated; None judges by full scales.
        cache: Where checksums go.
    """

    def __init__(
        self, axis: SpectralAxis | None, saturation: float | None, cache: ChecksumCache
    ) -> None:
        self._axis = axis
        self._saturation = saturation
        self._cache = cache
        self._local = threading.local()
        self._warnings: AbstractContextManager[object] = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._warnings.__enter__()
        warnings.simplefilter("always")
        warnings.showwarning = self._keep
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._warnings.__exit__(kind, error, trace)

    @staticmethod
    @contextmanager
    def quiet() -> Iterator[None]:
        """Keep warnings that were seen already from being printed again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield

    def look(self, path: Path, file: str, kind: str) -> Look:
        """Open, measure and sum one file.

        Args:
            path: The data file.
            file: Its name in the report.
            kind: ``specimen``, ``white`` or ``dark``.
        """
        self._local.heard = []
        seen = Look(file, kind, num_bytes=num_bytes(path) if path.exists() else 0)
        try:
            cube, axis_given = open_with_own_axis(path, self._axis)
            with cube:
                seen.shape, seen.dtype = cube.shape, str(cube.dtype)
                seen.interleave = cube.metadata.get("interleave", "").strip("{} \t").lower() or None
                seen.axis, seen.axis_given = cube.axis, axis_given
                seen.scale_factor = cube.scale_factor
                seen.measure = measure(cube, self._saturation)
            seen.digest = content_digest(path, self._cache)
        except (HyperspecError, OSError) as error:
            seen.error = str(error)
        except Exception as error:  # noqa: BLE001  # one broken file never stops the check
            seen.error = (
                f"reading failed in an unforeseen way ({type(error).__name__}: {error}). Please "
                "report it with the header."
            )
        seen.warnings = tuple(self._local.heard)
        return seen

    def _keep(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        heard = getattr(self._local, "heard", None)
        if heard is not None and str(message) not in heard:
            heard.append(str(message))
