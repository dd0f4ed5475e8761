"""From a command line to Hydra: where the config lies, one run or many, errors in one paragraph."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperspec.config import config_dir
from hyperspec.utils.errors import ConfigError, HyperspecError, in_words

CONFIG_NAME = "train"
# What a config may instantiate or name in Python logging; anything else is refused by Hydra.
TRUSTED = ["hyperspec.*", "hydra.*", "hydra_plugins.*", "logging.*", "optuna.*", "colorlog.*"]
# What means something in Hydra's grammar of values, or is no part of it outside of quotes.
_MARKS = re.compile(r"[^\w\s/.:+@%*?$\\|-]")
_RUN_WORDS = ("-m", "--multirun", "--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i")
OVERLAYS = ("experiment", "search")  # groups whose options set keys of any other


def config_folders(words: Sequence[str]) -> list[Path]:
    """Return the folders of YAML files: the package's own, and the user's of ``--config-dir``."""
    given = option_value(words, "--config-dir", "-cd")
    return [config_dir(), *([Path(given).absolute()] if given else [])]


def option_value(words: Sequence[str], *names: str) -> str | None:
    """Return the value of one of Hydra's options, or None where it is not given."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else following
    return None


def with_axis_file(word: str) -> str:
    """Return ``data.axis.file=FILE`` as Hydra takes it, which sets no key of what is null."""
    return re.sub(r"^(\+{0,2}data\.axis)\.file=(.*)$", r"\1={file:\2}", word, flags=re.DOTALL)


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Add ``--multirun`` to words of ``hyperspec train`` when overlays carry sweep parameters.

    Hydra refuses ``hydra.mode`` inside an overlay, so the overlays are composed once here.

    Raises:
        ConfigError: If a search was asked for and there is no space to search.
    """
    given = [with_axis_file(word) for word in arguments]
    if any(word in _RUN_WORDS or word.startswith("hydra.mode=") for word in given):
        return given
    composed = _compose_overlays(given)
    space = composed.hydra.sweeper.get("params") or {}
    searches = any(word.startswith("search=") and word != "search=null" for word in given)
    fixed = {word.split("=", 1)[0].lstrip("+") for word in given if "=" in word}
    repeated = sorted(fixed & set(space)) if searches else []
    if repeated:
        raise ConfigError(
            f"{repeated[0]} is fixed on the command line and searched by the experiment: every "
            "trial would be the same in it. Drop one of the two."
        )
    if searches and not space:
        raise ConfigError(
            "search= needs a space, but hydra.sweeper.params is empty. Choose an experiment that "
            "has one (experiment=band_count, temperature_lr, strategies), or give ranges with -m."
        )
    return [*given, "--multirun"] if space else given


def _compose_overlays(arguments: list[str]) -> DictConfig:
    chosen = [word for word in arguments if word.split("=", 1)[0].lstrip("+") in OVERLAYS]
    own, *further = config_folders(arguments)
    if further:
        chosen.append(f"hydra.searchpath=['file://{further[0]}']")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(own)):
        return compose(CONFIG_NAME, chosen, return_hydra_config=True)


def compose_words(words: Sequence[str]) -> DictConfig:
    """Compose the config of words of `hyperspec train` outside of a job.

    Raises:
        ConfigError: If a word does not fit the schema.
    """
    from hyperspec.config import groups

    groups.register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir())):
            return compose(CONFIG_NAME, [with_axis_file(word) for word in words])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(text_of(error)) from error


def report_error(error: Exception) -> int:
    """Print an error that the user can mend as one paragraph; return the exit status, 2.

    Raises:
        Exception: The error itself when it is of another kind, so that it keeps its traceback.
    """
    text = text_of(error)
    sys.stdout.flush()
    print(f"\nerror: {text}", file=sys.stderr)
    return 2


def text_of(error: Exception) -> str:
    """Return an error that the user can mend as one paragraph.

    Raises:
        Exception: The error itself when it is of another kind.
    """
    if isinstance(error, HyperspecError):
        return str(error)
    if isinstance(error, OSError) and (said := in_words(error)) is not None:
        return said
    if not isinstance(error, HydraException | OmegaConfBaseException):
        raise error
    text = " ".join(str(error).split())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and str(cause) not in text:
        text += " " + " ".join(str(cause).split())
    text = re.sub(r"\s*Set the environment variable HYDRA_FULL_ERROR=1.*", "", text)
    text += _quoting(error)
    return text + " (`hyperspec train --help` lists the groups and their options.)"


def quoted(key: str, value: str) -> str:
    """Write a setting as the shell has to be given it where its value is a name with marks."""
    # Backslashes count only before a quote, where each is doubled.
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
    return shlex.quote(f'{key}="{escaped}"')


def _quoting(error: HydraException | OmegaConfBaseException) -> str:
    """Say how a name with marks of Hydra's grammar is written; empty where that is not at fault."""
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'\n", str(error))
    word = str(getattr(error, "override", None) or (ambiguous[1] if ambiguous else ""))
    key, _, value = word.partition("=")
    in_list = value.startswith("[")
    if not _MARKS.search(value) or (in_list and "(" not in value):
        return ""
    if in_list:
        example = shlex.quote(f'{key}=["Morpho (L.)", ...]')
        return f". If names in the list have such marks, quote each: {example}."
    return f". If the value is a name, quote it for Hydra and for the shell: {quoted(key, value)}"


def use_full_errors() -> None:
    """Let exceptions of jobs reach the caller instead of Hydra's own printing and exit."""
    os.environ["HYDRA_FULL_ERROR"] = "1"


def overrides_of(config: DictConfig) -> dict[str, str]:
    """Return the options chosen in each group, such as ``{"bands": "uniform"}``."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    choices = OmegaConf.to_container(HydraConfig.get().runtime.choices)
    assert isinstance(choices, dict)
    own = {str(k): str(v) for k, v in choices.items() if not str(k).startswith("hydra/")}
    return {key: value for key, value in own.items() if key in config or key in OVERLAYS}
