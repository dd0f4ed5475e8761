"""The same from Python: ``hyperspec.train``, ``hyperspec.sweep`` and ``hyperspec.load``.

Words are those of the command line, so that what is written in a notebook can be run in a shell,
and is the same job: a sweep begun in one is gone on with in the other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.utils.errors import ConfigError, HyperspecError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hyperspec.runs.job import TrainedRun

log = logging.getLogger(__name__)

_PLAIN = re.compile(r"[\w./+-]+")


@dataclass(frozen=True)
class Encoder:
    """A trained encoder; what it does with a folder is what the commands of these names do.

    Args:
        checkpoint: Its file.
    """

    checkpoint: Path

    def embed(self, cubes: str | Path | Sequence[str | Path], *words: str) -> pd.DataFrame:
        """Embed a folder, or single cubes.

        Args:
            cubes: A folder, embedded as the run read its own; or data files.
            words: Data settings that differ from the run's, such as ``data.white=w.bil``; of a
                folder.

        Returns:
            A row per image: of a folder ``file``, ``specimen``, columns of the labels, ``part`` and
            ``embedding``; of files ``file`` and ``embedding``.

        Raises:
            HyperspecError: If a cube cannot be read, or its axis lacks a band.
        """
        import pandas as pd

        if isinstance(cubes, str | Path):
            from hyperspec.inference.assessment import Embedded
            from hyperspec.inference.restore import restore

            return Embedded(restore(self.checkpoint, words, root=str(cubes))).table()
        if words:
            raise ConfigError(
                f"{words[0]}: settings of data are for a folder; files are read as the run read "
                "its own. Give the folder, or leave the settings out."
            )
        files = [str(one) for one in cubes]
        return pd.DataFrame({"file": files, "embedding": list(self.embed_files(files))})

    def embed_files(self, files: Sequence[str | Path]) -> NDArray[np.float32]:
        """Return the embeddings of data files as an array, ``(N, F)``."""
        from hyperspec.inference.cube_embedder import CubeEmbedder

        return CubeEmbedder(self.checkpoint)(files)

    def importance(
        self,
        folder: str | Path | None = None,
        *,
        mode: str = "mean",
        window_nm: float = 20.0,
        part: str = "test",
    ) -> pd.DataFrame:
        """Measure which wavelengths the encoder leans on; ``hyperspec importance``.

        Args:
            folder: Of the cubes; None takes the run's own.
            mode: What replaces a window: ``mean``, ``interpolation``, ``permutation``; or
                ``gradient``.
            window_nm: Width of the windows in nanometres, above 0.
            part: ``validation`` or ``test``.

        Returns:
            A row per window: its centre in nm, how far embeddings move, answers that are lost, with
            95% intervals.

        Raises:
            ConfigError: If an argument is outside its range.
        """
        from hyperspec.evaluation.importance.report import importance_table
        from hyperspec.inference.importance import measure_importance
        from hyperspec.inference.restore import restore

        root = None if folder is None else str(folder)
        restored = restore(self.checkpoint, root=root)
        found = measure_importance(restored, [mode], window_nm=window_nm, part=part)
        return importance_table(found)


def train(*words: str, **settings: Any) -> TrainedRun:
    """Train once; what ``hyperspec train`` does with the same words.

    Args:
        words: As in a shell, such as ``"bands.n=50"``.
        settings: The same as values; keys with dots go in as ``**{"data.root": folder}``.

    Returns:
        Its name and identity in MLflow, folder, checkpoint, and scores by name.

    Raises:
        HyperspecError: If a word is wrong, or the run fails for a reason that can be mended.
    """
    from hyperspec.runs.job import ended_runs

    given = [*words, *(write_word(key, value) for key, value in settings.items())]
    with ended_runs() as ended:
        status = _run(given)
    if len(ended) != 1:
        raise ConfigError(
            f"{' '.join(given)} ran {len(ended)} jobs (exit status {status}); for several, such as "
            "an experiment's grid, use hyperspec.sweep."
        )
    return ended[0]


def sweep(*words: str, **settings: Any) -> pd.DataFrame:
    """Run a sweep, or go on with one; what ``hyperspec train -m`` does with the same words.

    Args:
        words: As in a shell, such as ``"bands.n=10,50,408"`` or ``"experiment=band_count"``.
        settings: The same as values; a list or tuple has the values that are swept.

    Returns:
        :func:`hyperspec.results` of it: a row per job. Those that failed say so in ``status``.

    Raises:
        HyperspecError: If a word is wrong.
    """
    from hyperspec.report.job_tables import results
    from hyperspec.tracking.parent import IN_SWEEP

    given = [*words, *(write_word(key, value, swept=True) for key, value in settings.items())]
    folder = [w.partition("=")[2].strip("'\"") for w in given if w.startswith("hydra.sweep.dir=")]
    if not folder:
        folder = [f"multirun/python/{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"]
        given.append(f"hydra.sweep.dir={folder[0]}")
    try:
        _run([*given, *(() if {"-m", "--multirun"} & {*given} else ("--multirun",))])
    except Exception as error:
        if IN_SWEEP not in getattr(error, "__notes__", ()):
            raise
        log.warning("jobs of the sweep failed: %s", error)
    return results(folder[-1])


def _run(words: Sequence[str]) -> int:
    from hyperspec.cli.train import run_words
    from hyperspec.config.compose import text_of

    try:
        return run_words(words)
    except HyperspecError:
        raise
    except Exception as error:
        if getattr(error, "__notes__", ()):
            raise
        raise ConfigError(text_of(error)) from error  # raises what is not the user's


def load(checkpoint: str | Path | TrainedRun = "latest", *, uri: str | None = None) -> Encoder:
    """Return a trained encoder.

    Args:
        checkpoint: A checkpoint; the folder or name of a run or of a sweep, whose best job it is;
            ``latest``; or what :func:`train` returned.
        uri: Tracking store; None takes the one that commands take.

    Raises:
        HyperspecError: If there is none.
    """
    from hyperspec.report.checkpoint_lookup import read_word

    known = getattr(checkpoint, "checkpoint", checkpoint)  # of what train returned
    return Encoder(read_word(str(known), uri).find()[0])


def write_word(key: str, value: Any, *, swept: bool = False) -> str:
    """Return a setting as the command line takes it.

    Args:
        key: Such as ``data.root``.
        value: A number, text, path, truth value, None, list or mapping.
        swept: Whether a list has the values of a sweep.
    """
    if swept and isinstance(value, list | tuple):
        return f"{key}={','.join(map(_written, value))}"
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    from hyperspec.config.compose import hydra_string

    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_written(one)}' for key, one in value.items())}}}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else hydra_string(text)
