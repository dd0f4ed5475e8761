"""Data settings from the words of `hyperspec train`, for commands that read a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperspec.config.compose import compose_words, text_of
from hyperspec.config.groups import OPTIONS
from hyperspec.datasets.config import Data
from hyperspec.transforms.config import ViewsConfig
from hyperspec.utils.errors import ConfigError

_GIVEN = "as_trained"  # option of the groups data and data/labels: what a checkpoint holds
T = TypeVar("T")


def compose_data(
    words: Sequence[str], root: Path | str, usual: Sequence[str] = (), base: Data | None = None
) -> Data:
    """Return the data settings that words such as ``data.size=64`` make of a folder.

    Without a word on labels they come from ``labels.csv`` where the folder has one.

    Args:
        words: As for `hyperspec train`, of the group ``data``.
        root: The folder.
        usual: The command's own defaults, where they are not the config's.
        base: Settings that the words change; by default those of ``conf/data/folder.yaml``.

    Raises:
        ConfigError: If a word names no setting, or its value does not fit.
    """
    return _made(_composed(words, root, usual, base), "data", Data)


def compose_views(
    words: Sequence[str], root: Path, usual: Sequence[str]
) -> tuple[Data, ViewsConfig]:
    """Return data settings and views, from words of the groups ``data`` and ``views``.

    The arguments are those of :func:`compose_data`.

    Raises:
        ConfigError: If a word names no setting, or its value does not fit.
    """
    config = _composed(words, root, usual, None)
    return _made(config, "data", Data), _made(config, "views", ViewsConfig)


def _composed(
    words: Sequence[str], root: Path | str, usual: Sequence[str], base: Data | None
) -> DictConfig:
    first = list(usual)
    keys = [word.split("=", 1)[0].lstrip("+~") for word in words]
    if "data.root" in keys:
        raise ConfigError(f"data.root is given twice: it is the folder of the command, {root}.")
    if base is not None:
        if "data" in keys:
            raise ConfigError(
                "data= chooses among options, but a checkpoint brings its own data settings. "
                "Change single ones, such as data.white=white.bil."
            )
        _register(base)
        first = [f"data={_GIVEN}"]
    elif "data" in keys:
        first = []  # the option says what is usual
    elif not any(key.startswith(("data/labels", "data.labels")) for key in keys):
        first += [] if (Path(root) / "labels.csv").is_file() else ["data/labels=none"]
    config = compose_words([*first, *words])
    config.data.root = str(root)
    return config


def _made(config: DictConfig, group: str, kind: type[T]) -> T:
    """Turn one group into its checked object."""
    missing = sorted(OmegaConf.missing_keys(config[group]))
    if missing:
        raise ConfigError(f"{group}.{missing[0]} has no value; give it: {group}.{missing[0]}=...")
    try:
        made = OmegaConf.to_object(config[group])
    except OmegaConfBaseException as error:
        raise ConfigError(text_of(error)) from error
    assert isinstance(made, kind)
    return made


def _register(base: Data) -> None:
    """Make settings an option of Hydra's, so that its grammar changes them as it does others."""
    values = _plain(base)
    labels = getattr(base, "labels", None)
    chosen = []
    if labels is not None:
        del values["labels"]
        chosen = [{"labels": _GIVEN}]
        _store("data/labels", labels, _plain(labels))
    _store("data", base, values, chosen)


def _store(
    group: str, made: object, values: dict[str, Any], more: Sequence[dict[str, str]] = ()
) -> None:
    name = next(name for name, kind in OPTIONS[group].items() if kind is type(made))
    defaults = [f"/schema/{group}/{name}@_here_", *more, "_self_"]
    ConfigStore.instance().store(
        group=group, name=_GIVEN, node={"defaults": defaults, **values}, replace=True
    )


def _plain(made: object) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.structured(made))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
