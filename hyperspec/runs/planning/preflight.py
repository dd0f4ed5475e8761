"""What is looked at before the first job: devices, specimens, and what they can be scored by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from hyperspec.bands import CountedStrategy, Learned
from hyperspec.config.found_device import found_device
from hyperspec.cubes.open import open_with_own_axis
from hyperspec.datasets.config import FolderData, SplitSpec, label_folder, specimen_files
from hyperspec.evaluation.objective import objective_names, resolve_objective
from hyperspec.runs.planning.device_sharing import check_sharing
from hyperspec.utils.errors import BandError, HyperspecError, ModelError

if TYPE_CHECKING:
    from hyperspec.bands import Strategy
    from hyperspec.config.hardware import Hardware
    from hyperspec.config.schema import Train
    from hyperspec.datasets.config import Data
    from hyperspec.datasets.store.source import SpecimenSource
    from hyperspec.spectra.axis import SpectralAxis

log = logging.getLogger(__name__)

_POOLS_HERE = ("joblib", "submitit_local")  # of our launchers; Ray's workers may lie elsewhere


def look_first(jobs: Sequence[Train]) -> list[str]:
    """Look at names and headers, which takes no time: long work is never begun for nothing.

    Checkpoints that jobs go on from, cubes and labels of their folders, and whether the axis of the
    first cube has the bands that are asked for; scanning tells later of cubes on another axis.

    Returns:
        What to warn of, where some jobs ask for more bands than the axis has: these will fail, and
        the others run.

    Raises:
        HyperspecError: If something is missing, if bands that are named do not fit the axis, or if
            no job has as many as it asks for.
    """
    axes: list[tuple[Data, SpectralAxis | None]] = []
    tried: list[tuple[Strategy, SpectralAxis, BandError | None]] = []
    refused: list[BandError] = []
    for job in jobs:
        if job.ckpt is not None and not Path(job.ckpt).is_file():
            raise ModelError(f"ckpt is '{job.ckpt}', but there is no such file.")
        data = replace(job.data, split=SplitSpec())
        if data not in [known for known, _ in axes]:
            axes.append((data, _axis_of(data)))
        axis = next(axis for known, axis in axes if known == data)
        if axis is None:
            continue
        if (job.bands, axis) not in [(bands, known) for bands, known, _ in tried]:
            tried.append((job.bands, axis, _why_not(job.bands, axis)))
        why_not = next(why for bands, known, why in tried if (bands, known) == (job.bands, axis))
        if why_not is not None:
            if not isinstance(job.bands, CountedStrategy):  # no point of a curve, but the sensor
                raise why_not
            refused.append(why_not)
    if refused and len(refused) == len(jobs):
        raise refused[0]
    counts = Counter(map(str, refused))
    return [f"{n} of {len(jobs)} jobs will fail: {text}" for text, n in counts.items()]


def _why_not(bands: Strategy, axis: SpectralAxis) -> BandError | None:
    try:
        if bands.needs_statistics or isinstance(bands, Learned):
            bands.check_axis(axis)
        else:  # which also tells of a file of curves that is missing
            bands.select(axis)
    except BandError as error:
        return error
    return None


def _axis_of(data: Data) -> SpectralAxis | None:
    """Match cubes and labels by name; return the axis of the first cube, None if it tells none."""
    files = specimen_files(data)
    if isinstance(data, FolderData):
        label_folder(data)
    try:
        with open_with_own_axis(files[0], data.own_axis, data.reading)[0] as cube:
            return cube.axis
    except (HyperspecError, OSError, IndexError):  # scanning says it, of every cube
        return None


def check_data(jobs: Sequence[Train]) -> None:
    """Look at what all jobs need, so that what is missing is found before the first one.

    Their devices; their specimens, of which a missing or damaged file is found by packing what is
    not packed yet, which the first job would have to; their splits, and whether the validation part
    has what the objective needs. Jobs that share a device are also predicted to fit on it.

    Raises:
        HyperspecError: With the devices or files that cannot be used, the split or the objective
            that the specimens do not allow, or the memory that is missing.
    """
    from hyperspec.training.data import open_source, scorable, split_source

    if _run_here():
        say_device()
        check_devices([job.hardware for job in jobs])
    opened: list[tuple[Data, SpecimenSource]] = []
    scored: list[tuple[Data, object]] = []
    for job in jobs:
        # All splits have the same specimens, and the same warnings but for what they keep apart.
        data = replace(job.data, split=SplitSpec(group=job.data.split.group))
        if data not in [known for known, _ in opened]:
            opened.append((data, open_source(data)))
        if (asked := (job.data, (job.objective, job.evaluation.scored_by))) not in scored:
            scored.append(asked)
            source = next(source for known, source in opened if known == data)
            has = scorable(source, split_source(source, job.data))
            for name in objective_names(job.objective):
                resolve_objective(name, evaluators=job.evaluation.scored_by, **has)
    check_sharing(jobs)


def say_device() -> None:
    """Say in a line what ``hardware=auto`` takes on this machine; nothing where it is not asked."""
    if HydraConfig.initialized() and HydraConfig.get().runtime.choices.get("hardware") == "auto":
        log.info("%s", found_device().line)


def check_devices(wanted: Sequence[Hardware]) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        ConfigError: If there are fewer GPUs than a job asks for.
    """
    asked = {(one.accelerator, one.devices): one for one in wanted if one.accelerator != "cpu"}
    for (accelerator, devices), hardware in asked.items():
        if accelerator == "gpu" or devices != 1:  # else any machine will do
            from hyperspec.training.devices import count_devices  # torch takes seconds

            count_devices(hardware)


def _run_here() -> bool:
    """Say whether the jobs of a sweep run on this machine, not on nodes with other devices."""
    if not HydraConfig.initialized():
        return True
    launcher = HydraConfig.get().launcher
    return str(launcher.get("_target_")).endswith("BasicLauncher") or (
        launcher.get("pool") in _POOLS_HERE
    )
