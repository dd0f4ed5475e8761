"""Errors that a user can cause and mend.

Each message is one paragraph: the value that was seen, the place (file or config key) and the way
out. The command line prints the message without a traceback and exits with status 2.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
RENAME = "Rename it, for example with `convmv -f latin1 -t utf8 --notest NAME`"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HyperspecError(ValueError):
    """Base of every error that names something the user can mend."""


class AxisError(HyperspecError):
    """Wavelengths, their unit or a requested wavelength do not fit."""


class CubeError(HyperspecError):
    """A cube's header or data file is missing, contradictory or of an unsupported kind."""


class CatalogueError(HyperspecError):
    """A folder's cubes, labels or calibration frames do not fit together."""


class SplitError(HyperspecError):
    """The labels or specimens do not allow the requested split."""


class BandError(HyperspecError):
    """A band strategy was asked for something that the axis or the statistics cannot give."""


class TiedError(BandError):
    """Nothing tells the bands apart: all have the same score, so that any choice is arbitrary."""


class ModelError(HyperspecError):
    """A model option or a weights file does not fit."""


class ConfigError(HyperspecError):
    """A config value is outside its range, or two values contradict each other."""


class TrackingError(HyperspecError):
    """A run, sweep or tracking store cannot be found or used."""


def in_words(error: OSError) -> str | None:
    """Return what is wrong with a file or folder, and the way out; None where it names none."""
    if error.filename is None or not error.strerror:
        return None
    text = f"{shown_name(os.fspath(error.filename))}: {error.strerror}."
    if error.errno in _FULL:
        return f"{text} Make room on this disk, or name places on another one ({_PLACES})."
    if error.errno in _UNWRITABLE:
        return f"{text} If nothing can be written there, name other places: {_PLACES}."
    return text


_PLACES = (
    "data.cache_dir=FOLDER for packed specimens, hydra.run.dir=FOLDER for a run's files and "
    "hydra.sweep.dir=FOLDER for a sweep's, tracking.uri=sqlite:////FOLDER/mlflow.db, --out of "
    "commands that have one"
)


def shown_name(name: str | bytes) -> str:
    r"""Return a name that can be printed: bytes that are no UTF-8 as ``\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_names(names: Iterable[str]) -> None:
    """Refuse words of a command that are no UTF-8.

    Raises:
        ConfigError: Naming the first one.
    """
    for name in names:
        if not is_text(name):
            raise ConfigError(
                f"'{shown_name(name)}' is not UTF-8, so that neither a config nor MLflow can keep "
                f"it. {RENAME}, or make a link of a plain name to it (ln -s) and give that."
            )


def is_text(name: str) -> bool:
    """Say whether a name of the file system is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
