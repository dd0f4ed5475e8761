"""The options of every config group, registered with Hydra; a composed config becomes objects.

That they are registered lets Hydra refuse a misspelt key or a wrong type when it composes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperspec import bands, losses, models
from hyperspec.config import config_dir, found_device
from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.datasets.catalogue.label_map import MapLabels
from hyperspec.datasets.catalogue.labels import CsvLabels, FolderLabels, NoLabels, PatternLabels
from hyperspec.datasets.config import FolderData, TilesData
from hyperspec.evaluation.objective import check_objective
from hyperspec.tracking.config import TrackingConfig
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.utils.errors import ConfigError, HyperspecError
from hyperspec.utils.registry import is_own

OPTIONS: Mapping[str, Mapping[str, type]] = {
    "data": {"folder": FolderData, "tiles": TilesData},
    "data/labels": {
        "csv": CsvLabels,
        "pattern": PatternLabels,
        "folder": FolderLabels,
        "none": NoLabels,
        "map": MapLabels,
    },
    "bands": bands.OPTIONS,
    "model": models.OPTIONS,
    "loss": losses.OPTIONS,
    "views": {"views": ViewsConfig, "cross_modal": CrossModalViews},
    "hardware": {"hardware": Hardware},
    "tracking": {"tracking": TrackingConfig},
}


_SCHEMA = re.compile(r"^ *- /schema/([\w/]+)@", re.MULTILINE)


def register() -> None:
    """Put the schema into Hydra's config store; doing it again changes nothing."""
    found_device.register()
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=Train, replace=True)
    for group, options in OPTIONS.items():
        for name, node in options.items():
            if not is_own(node.__module__):
                check_fields(node)
            for place in places(group, name, node):
                store.store(group=place, name=name, node=node, replace=True)


def places(group: str, name: str, node: type) -> list[str]:
    """Return where a class is stored: one that no YAML names is an option by itself."""
    if is_own(node.__module__) and f"{group}/{name}" in _named_in_yaml():
        return [f"schema/{group}"]
    return [f"schema/{group}", group, *(["loss/global_loss"] if group == "loss" else [])]


@cache
def _named_in_yaml() -> frozenset[str]:
    files = config_dir().rglob("*.yaml")
    return frozenset(name for file in files for name in _SCHEMA.findall(file.read_text("utf-8")))


def check_fields(node: type) -> None:
    """Check that a config can hold the fields of a dataclass.

    Raises:
        ConfigError: If one has a type or a default that it cannot.
    """
    try:
        OmegaConf.structured(node)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"{node.__module__}.{node.__qualname__} has a field that no config can hold: "
            f"{' '.join(str(error).split())}."
        ) from error


def to_train(config: DictConfig) -> Train:
    """Turn a composed config into checked objects.

    Raises:
        ConfigError: If a value is outside its range, missing, or contradicts another.
    """
    try:
        made = OmegaConf.to_object(config)
    except (HyperspecError, OmegaConfBaseException) as error:
        if not (missing := sorted(OmegaConf.missing_keys(config))):
            raise
        raise ConfigError(
            f"The config has no value for {', '.join(missing)}; give it on the command line, for "
            f"example {missing[0]}=..."
        ) from error
    if not isinstance(made, Train):
        raise ConfigError("The config is not of the schema 'schema/train'; see conf/train.yaml.")
    return made


def to_job(config: DictConfig) -> Train:
    """Turn the composed config of one job into checked objects, as :func:`to_train` does.

    Raises:
        ConfigError: If :func:`to_train` does, parts take turns and the job does not say which, or
            the objective is nothing that the job measures.
    """
    made = to_train(config)
    _ = made.data.split.turn  # raises without a rotation
    check_objective(
        made.objective,
        made.evaluation.scored_by,
        windows=made.views.windows_nm if isinstance(made.views, CrossModalViews) else (),
        every_n_epochs=made.evaluation.every_n_epochs,
        labels=not isinstance(getattr(made.data, "labels", None), NoLabels | None),
    )
    return made


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain dicts and lists."""
    plain = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    if not isinstance(plain, dict):
        raise ConfigError("The config is not a mapping; see conf/train.yaml.")
    return {str(key): value for key, value in plain.items()}
