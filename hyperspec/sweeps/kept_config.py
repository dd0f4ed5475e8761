"""The config files of a sweep as they were when it was checked: what its jobs are composed of.

Hydra composes a job when it starts, so that a file edited while a sweep runs would change the jobs
that come later. Here each file is read once. What was read travels with Hydra's loader to the
workers of every launcher; the user's own files lie in the sweep's folder too.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from hyperspec.config import config_dir
from hyperspec.utils.atomic import write_text
from hyperspec.utils.foreign_paths import inside

_LOG = logging.getLogger(__name__)

FOLDER = "config"  # within a sweep's folder


class KeptRepository:
    """Asks a repository of Hydra's each question once.

    Whoever knows that all jobs can be composed sets ``jobs_checked``: no sweeper does then.

    Args:
        repository: The one that reads files; copies of this one read anew what was not asked before
            where their search path is another.
        answers: What was asked before; copies share it.
    """

    def __init__(self, repository: Any, answers: dict[Any, Any] | None = None) -> None:
        self._repository = repository
        self.jobs_checked = False
        self._answers: dict[Any, Any] = {} if answers is None else answers

    def __deepcopy__(self, memo: dict[int, Any]) -> KeptRepository:
        """Copy for one composition, whose search path may change; Hydra does so each time."""
        return KeptRepository(copy.deepcopy(self._repository, memo), self._answers)

    def __getattr__(self, name: str) -> Any:
        """Return what is not asked of files."""
        if name.startswith("_"):  # while it is unpickled there is no repository yet
            raise AttributeError(name)
        return getattr(self._repository, name)

    def load_config(self, config_path: str) -> Any:
        """Return a config; a copy, since Hydra merges into it."""
        key = self._key("as bytes", config_path)
        if key not in self._answers:  # loading is five times as fast as copying
            self._answers[key] = pickle.dumps(self._ask("load_config", config_path))
        return pickle.loads(self._answers[key])  # noqa: S301 - of this process, or its sweep's

    def group_exists(self, *where: Any, **how: Any) -> Any:
        """Say whether there is a group of this name."""
        return self._ask("group_exists", *where, **how)

    def config_exists(self, *where: Any, **how: Any) -> Any:
        """Say whether there is a config of this name."""
        return self._ask("config_exists", *where, **how)

    def get_group_options(self, *where: Any, **how: Any) -> Any:
        """Return the names of a group's options."""
        return list(self._ask("get_group_options", *where, **how))

    def _key(self, question: str, *where: Any, **how: Any) -> tuple[Any, ...]:
        sources = tuple(source.path for source in self._repository.get_sources())
        return question, where, tuple(sorted(how.items())), sources

    def _ask(self, question: str, *where: Any, **how: Any) -> Any:
        key = self._key(question, *where, **how)
        if key not in self._answers:
            self._answers[key] = getattr(self._repository, question)(*where, **how)
        return self._answers[key]

    def users_files(self) -> dict[str, Path]:
        """Return the files that were read from folders of the user's, by their names in them."""
        own, found = config_dir().resolve(), dict[str, Path]()
        for (question, where, *_), answer in self._answers.items():
            scheme, _, folder = str(getattr(answer, "path", "")).partition("://")
            if question == "load_config" and scheme == "file" and Path(folder).resolve() != own:
                name = f"{where[0].removesuffix('.yaml')}.yaml"
                found[name] = Path(folder) / name
        return found


def keep_config() -> KeptRepository:
    """Let Hydra's loader read each config file once from now on; call it inside of Hydra."""
    loader: Any = GlobalHydra.instance().config_loader()
    if not isinstance(loader.repository, KeptRepository):
        loader.repository = KeptRepository(loader.repository)
    kept: KeptRepository = loader.repository
    return kept


_compose_all = Sweeper.validate_batch_is_legal


def _compose_unchecked(sweeper: Sweeper, batch: Sequence[Sequence[str]]) -> None:
    """Compose a batch before its first job starts, unless it is of a grid that was checked.

    Sweepers of other packages make jobs that nobody has seen.
    """
    context = sweeper.hydra_context
    repository = None if context is None else getattr(context.config_loader, "repository", None)
    checked = isinstance(repository, KeptRepository) and repository.jobs_checked
    if not (checked and type(sweeper).__module__.partition(".")[0] == "hydra"):
        _compose_all(sweeper, batch)


Sweeper.validate_batch_is_legal = _compose_unchecked  # type: ignore[method-assign, assignment]


def write_files(files: Mapping[str, Path], sweep_dir: Path) -> None:
    """Copy the user's config files beside the jobs; ``--config-dir`` takes that folder."""
    for name, path in files.items():
        target = inside(sweep_dir / FOLDER, name)
        if target is None:
            _LOG.warning("%s lies outside of its folder of configs and is not kept", path)
            continue
        write_text(target, path.read_text(encoding="utf-8"))


def config_words(config: DictConfig) -> Sequence[str]:
    """Return the words that name a folder of configs beside the package's own, absolute."""
    given = [
        str(source.path)
        for source in OmegaConf.select(config, "hydra.runtime.config_sources") or ()
        if source.provider == "command-line"
    ]
    return [word for path in given for word in ("--config-dir", path)]
