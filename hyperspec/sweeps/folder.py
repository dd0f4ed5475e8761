"""A command that meets an earlier one: in the same folder, in the same study, at the same time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hyperspec.tracking.client import Connection
from hyperspec.tracking.names import TAG_COMMAND, TAG_KIND, flatten
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.process import is_dead
from hyperspec.utils.text import names

ASKED = "asked.json"
# Keys that decide no result, as the schema marks them: a sweep may change them in its folder.
ASIDE = (
    "sweep",
    "search",
    "tracking",
    "study",
    "log_every_n_steps",
    "plugins",
    "data.root",
    "data.cache_dir",
    "data.residency",
    "data.memory_share",
    "hardware.plan",
    "hardware.strategy",
    "hardware.jobs_per_device",
    "hardware.read_threads",
    "hardware.num_workers",
    "hardware.pin_memory",
    "hardware.persistent_workers",
    "hardware.prefetch_factor",
    "hardware.check_micro_batch",
)
_SHOWN = 8  # differences that are listed


def asked(config: DictConfig, space: Mapping[str, str]) -> dict[str, str]:
    """Return what a sweep asks: its varied keys, and the values of all others."""
    plain = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    values = {**flatten(plain), **space}
    # A group's own key: the choice of a strategy is seen in `bands.name` and the like.
    return {key: value for key, value in sorted(values.items()) if not _aside(key)}


def settle_folder(config: DictConfig, folder: Path, space: Mapping[str, str]) -> Path:
    """Hold a sweep's folder to what it was begun with, or fork it; return the folder to use.

    With ``sweep.changed=fork`` a sweep that asks something else goes to the folder's first free
    neighbour (``NAME-2``, ...), or to the one that was begun with the same.

    Raises:
        ConfigError: If the folder was begun with something else; the message has the differences.
    """
    now = asked(config, space)
    for candidate in names(str(folder)):
        then = _read(Path(candidate))
        differences = _differences(then, now) if then is not None else []
        if not differences:
            _write(Path(candidate), now)
            if candidate != str(folder):
                _redirect(config, candidate)
            return Path(candidate)
        if OmegaConf.select(config, "sweep.changed") != "fork":
            raise ConfigError(
                f"hydra.sweep.dir={folder} holds a sweep that was begun with something else: "
                f"{'; '.join(differences)}. Take the old values to go on with it, another "
                "hydra.sweep.dir, or sweep.changed=fork, which takes a folder beside it."
            )
    raise AssertionError("names() does not end")


def check_busy(config: DictConfig, connection: Connection, command: str) -> str | None:
    """Say whether the same command runs now; return a line that tells what that means.

    Raises:
        ConfigError: If it does and ``sweep.when_busy`` is ``refuse``.
    """
    if connection.offline:
        return None
    query = f"tags.`{TAG_KIND}` = 'sweep' and attributes.status = 'RUNNING'"
    found = connection.ask(
        lambda client: list(client.search_runs([connection.known_experiment()], query))
    )
    same = [
        run
        for run in found
        if run.data.tags.get(TAG_COMMAND) == command
        and not is_dead(
            run.data.tags.get("hyperspec.host", ""), run.data.tags.get("hyperspec.process", "")
        )
    ]
    if not same:
        return None
    name, when_busy = same[0].info.run_name, OmegaConf.select(config, "sweep.when_busy")
    if when_busy == "refuse":
        raise ConfigError(
            f"The same command runs as '{name}' on {same[0].data.tags.get('hyperspec.host')}, and "
            "sweep.when_busy is refuse. Wait for it, or give sweep.when_busy=wait to take over its "
            "results job by job, or join to share the work."
        )
    if when_busy == "join":
        return f"joins '{name}', which runs now: jobs in another order, each of them once"
    return f"the same command runs as '{name}': each of its jobs is waited for, none runs twice"


def _aside(key: str) -> bool:
    return any(key == aside or key.startswith(f"{aside}.") for aside in ASIDE)


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    keys = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    told = [
        f"{key} was {then.get(key, 'not set')} and is {now.get(key, 'not set')}"
        for key in keys[:_SHOWN]
    ]
    return [*told, f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else told


def _redirect(config: DictConfig, folder: str) -> None:
    """Let the sweep and its jobs, which are composed anew from the overrides, use a folder."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = folder
        kept = [w for w in config.hydra.overrides.hydra if not w.startswith("hydra.sweep.dir=")]
        quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
        config.hydra.overrides.hydra = [*kept, f"hydra.sweep.dir='{quoted}'"]


def _read(folder: Path) -> dict[str, str] | None:
    path = folder / ASKED
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in content.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        raise ConfigError(
            f"{path} does not say what the sweep in this folder asked ({error}). Remove the file "
            "or give another hydra.sweep.dir."
        ) from error


def _write(folder: Path, content: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".asked-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(dict(content), file, indent=2)
    Path(temporary).replace(folder / ASKED)
