"""The folders of a sweep's jobs, looked at before the first job makes one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from hyperspec.utils.errors import HyperspecError
from hyperspec.utils.file_names import FOLDS_CASE, why_refused

_LONGEST = 255  # bytes of a name, on the file systems of all three platforms
_NUMBERED = ("hydra.job.num", "hydra:job.num", "hydra.job.id", "hydra:job.id")


def check_subdirs(config: DictConfig, jobs: Sequence[Sequence[str]], loader: ConfigLoader) -> None:
    """Refuse names of the jobs' folders that two jobs share, or that no file system takes.

    Call it inside of Hydra. ``jobs`` are the words of each.

    Raises:
        HyperspecError: If there is one; the message has the folder and the jobs.
    """
    pattern = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(pattern, dict)
    given = str(pattern["subdir"])
    if given == "${hydra.job.num}":
        return
    numbered = any(f"${{{key}}}" in given for key in _NUMBERED)
    seen: dict[str, Sequence[str]] = {}
    for number, job in enumerate(jobs):
        folder = _subdir(config, job, number, loader)
        for name in Path(folder).parts:
            if (size := len(os.fsencode(name))) > _LONGEST:
                raise HyperspecError(
                    f"hydra.sweep.subdir={given} gives the job '{' '.join(job)}' a folder of "
                    f"{size} bytes, and {_LONGEST} is the longest that file systems take: {name}. "
                    "Name fewer keys in it, leave some out with "
                    "hydra.job.config.override_dirname.exclude_keys, or take "
                    "hydra.sweep.subdir='${hydra.job.num}'."
                )
            if os.name == "nt" and (why := why_refused(name)) is not None:
                raise HyperspecError(
                    f"hydra.sweep.subdir={given} gives the job '{' '.join(job)}' the folder "
                    f"{name!r}, which Windows does not take: {why}. Leave out the key with "
                    "hydra.job.config.override_dirname.exclude_keys, or take "
                    "hydra.sweep.subdir='${hydra.job.num}'."
                )
        place = os.path.normpath(folder)
        other = seen.setdefault(place.casefold() if FOLDS_CASE else place, job)
        if other is not job and not numbered:
            raise HyperspecError(
                f"hydra.sweep.subdir={given} gives two jobs the folder {folder}: "
                f"'{' '.join(other)}' and '{' '.join(job)}' would write over each other. Add what "
                "sets them apart, or ${hydra.job.num}."
            )


def _subdir(config: DictConfig, job: Sequence[str], number: int, loader: ConfigLoader) -> str:
    made = loader.load_sweep_config(config, list(job))
    with open_dict(made):
        made.hydra.job.num, made.hydra.job.id = number, f"{config.hydra.job.name}_{number}"
    hydra = HydraConfig.instance()
    before = hydra.cfg
    try:
        hydra.set_config(made)  # what ${hydra:...} reads
        return str(made.hydra.sweep.subdir)
    finally:
        hydra.cfg = before
