"""What Hydra knows of the job: its folder, its sweep, the words that set it apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from hyperspec.config.compose import overrides_of
from hyperspec.tracking.parent import ParentInfo, find_parent


@dataclass(frozen=True)
class JobContext:
    """What Hydra knows of the job: its folder, its sweep, the words that set it apart."""

    output_dir: Path
    sweep_dir: Path | None
    parent: ParentInfo | None
    overrides: tuple[str, ...]
    choices: dict[str, str]
    job: str = ""
    """Folder of a sweep's job below the sweep's; no other job has it. Quotes are escaped in it."""

    @classmethod
    def current(cls, config: DictConfig) -> JobContext:
        """Read it from Hydra; outside of Hydra a job runs in the current folder."""
        if not HydraConfig.initialized():
            return cls(Path.cwd(), None, None, (), {})
        hydra = HydraConfig.get()
        sweep_dir = Path(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else None
        return cls(
            Path(hydra.runtime.output_dir),
            sweep_dir,
            None if sweep_dir is None else find_parent(sweep_dir),
            tuple(hydra.overrides.task),
            overrides_of(config),
            "" if sweep_dir is None else quote(str(hydra.sweep.subdir), safe="/=,+ "),
        )


def is_single_run() -> bool:
    """Say whether Hydra runs this job alone, not as one of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN


def started_in() -> Path:
    """Return the folder that relative paths mean: of the command, also with ``hydra.job.chdir``."""
    if HydraConfig.initialized() and HydraConfig.get().job.chdir:
        return Path(HydraConfig.get().runtime.cwd)
    return Path.cwd()
