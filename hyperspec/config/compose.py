"""From a command line to Hydra: where the config lies, one run or many, errors in one paragraph."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hyperspec.config import config_dir
from hyperspec.utils.errors import ConfigError, HyperspecError, in_words

CONFIG_NAME = "train"
# What a config may instantiate or name in Python logging; anything else is refused by Hydra. Of
# this package what `conf/` names: with all of it a config could import modules and write files.
TRUSTED = [
    "hyperspec.sweeps.callback.SweepCallback",
    "hyperspec.sweeps.progress.callback.LiveCallback",
    "hyperspec.sweeps.launchers.launcher.HyperspecLauncher",
    "hyperspec.search.plugin.HyperspecSweeper",
    "hyperspec.sweeps.race_sweeper.RaceSweeper",
    "hyperspec.config.groups.to_job",
    "hyperspec.runs.identity.describe_jobs",
    "hyperspec.runs.planning.disk.disk_need",
    "hyperspec.runs.planning.preflight.check_data",
    *("hydra.*", "hydra_plugins.*", "logging.*", "optuna.*", "colorlog.*"),
]
# What means something in Hydra's grammar of values, or is no part of it outside of quotes.
_MARKS = re.compile(r"[^\w\s/.:+@%*?$\\|-]")
_RUN_WORDS = ("-m", "--multirun", "--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i")
_NO_KEY = re.compile(r"Could not override '([^']*)'\.\s+To append to your config")
OVERLAYS = ("experiment", "search")  # groups whose options set keys of any other


def config_folders(words: Sequence[str]) -> list[Path]:
    """Return the folders of YAML files: the package's own, then those that words name."""
    found = [config_dir()]
    for place in parse_options(words).search_path:
        scheme, _, name = place.rpartition("://")
        if scheme == "pkg":
            found += _package_folders(name, place)
        else:
            found.append(Path(name).absolute())
    return found


def _package_folders(name: str, place: str) -> list[Path]:
    module, _, inside = name.partition("/")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise ConfigError(
            f"hydra.searchpath names {place}, but there is no package {module} in this Python "
            "environment. Install it, or give a folder: file://FOLDER."
        )
    return [Path(folder) / inside for folder in spec.submodule_search_locations or ()]


@dataclass(frozen=True)
class Options:
    """What words say of Hydra itself, and what they set."""

    search_path: tuple[str, ...] = ()
    """Of ``--config-dir`` and ``hydra.searchpath``: where configs lie beside the package's own."""
    config_name: str = CONFIG_NAME
    settings: tuple[str, ...] = ()


def parse_options(words: Sequence[str]) -> Options:
    """Read ``--config-dir``, ``--config-name`` and ``hydra.searchpath``.

    Raises:
        ConfigError: If ``hydra.searchpath`` is no list.
    """
    first, later, name, rest = list[str](), list[str](), CONFIG_NAME, list[str]()
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option in ("--config-dir", "-cd", "--config-name", "-cn"):
            value = value if equals else next(left, "")
            if option.endswith(("name", "cn")):
                name = value
            else:
                first.append(f"file://{Path(value).absolute()}")
        elif option == "hydra.searchpath":
            given = OverridesParser.create().parse_override(word).value()
            if not isinstance(given, list):
                raise ConfigError(f"{word} is no list; write hydra.searchpath=[file://FOLDER].")
            later += map(str, given)
        else:
            rest.append(word)
    return Options((*first, *later), name, tuple(rest))


def as_hydra_takes(word: str) -> str:
    r"""Return a word as Hydra takes it.

    ``data.axis.file=FILE`` would set a key of what is null; of ``\\server\share``, a folder of
    another Windows machine, one of the first two backslashes would be lost.
    """
    word = re.sub(r"^([^=]+=)(\\\\[^\\].*)$", lambda m: m[1] + hydra_string(m[2]), word)
    return re.sub(r"^(\+{0,2}data\.axis)\.file=(.*)$", r"\1={file:\2}", word, flags=re.DOTALL)


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Add ``--multirun`` to words of ``hyperspec train`` when overlays carry sweep parameters.

    Hydra refuses ``hydra.mode`` inside an overlay, so the overlays are composed once here.

    Raises:
        ConfigError: If a search was asked for and there is no space to search.
    """
    given = [as_hydra_takes(word) for word in arguments]
    _check_flags(given)
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
    settings = parse_options(arguments).settings
    others = [w for w in settings if w.split("=", 1)[0].lstrip("+") not in OVERLAYS]
    return _compose([w for w in arguments if w not in others], return_hydra_config=True)


def compose_words(words: Sequence[str]) -> DictConfig:
    """Compose the config of words of `hyperspec train` outside of a job.

    Raises:
        ConfigError: If a word does not fit the schema.
    """
    from hyperspec.config import groups

    groups.register()
    try:
        return _compose([as_hydra_takes(word) for word in words])
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(text_of(error)) from error


def _compose(words: Sequence[str], **how: bool) -> DictConfig:
    options = parse_options(words)
    settings = list(options.settings)
    if options.search_path:
        settings.append(f"hydra.searchpath=[{','.join(map(hydra_string, options.search_path))}]")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        return compose(options.config_name, settings, **how)


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
    if (said := _unreadable(error)) is not None:
        return said
    if not isinstance(error, HydraException | OmegaConfBaseException):
        raise error
    if (said := _no_such_name(error)) is not None:
        return said
    text = " ".join(str(error).split())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and str(cause) not in text:
        text += " " + " ".join(str(cause).split())
    text = re.sub(r"\s*Set the environment variable HYDRA_FULL_ERROR=1.*", "", text)
    text += _quoting(error)
    return text + " (`hyperspec train --help` lists the groups and their options.)"


def _no_such_name(error: Exception) -> str | None:
    """Return what is said of an option or a key that there is not; None of any other error."""
    from hyperspec.config.option_list import list_options, nearest, nearest_key

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        near = nearest(name, error.options)
        hint = f" Did you mean {group}={near}?" if near else ""
        return f"There is no {group}={name}.{hint} Options: {', '.join(error.options)}."
    missing = _NO_KEY.match(str(error))
    if missing is None:
        return None
    key = missing[1]
    owners = [one.choice for one in list_options() if one.key == key]
    if "" in owners:
        return None  # there is such a key, and its value has one that is none
    if owners:
        return f"There is no key {key} in this config: it belongs to {', '.join(owners)}."
    near = nearest_key(key)
    hint = f" Did you mean {near}?" if near else ""
    begin = key.partition(".")[0]
    return (
        f"There is no key {key} in this config.{hint} `hyperspec options {begin}` lists the keys."
    )


def _check_flags(words: Sequence[str]) -> None:
    """Refuse an option that Hydra does not know.

    Raises:
        ConfigError: Naming it, and the one that is near.
    """
    from hydra._internal.utils import get_args_parser

    from hyperspec.config.option_list import nearest

    known = get_args_parser()._option_string_actions
    before = ""
    for word in words:
        flag, equals, _ = word.partition("=")
        valued = before in known and known[before].nargs != 0
        before = word
        if not (valued or equals or flag.startswith(("-", "~"))):
            raise ConfigError(
                f"{word!r} is no setting; write key=value, such as bands.n=50 or "
                "experiment=band_count (`hyperspec options` lists the keys)."
            )
        if flag.startswith("-") and flag not in known:
            near = nearest(flag, known)
            hint = f" Did you mean {near}?" if near else ""
            raise ConfigError(
                f"hyperspec train has no option {flag}.{hint} Settings are written key=value."
            )


def _unreadable(error: Exception) -> str | None:
    """Return what is wrong with a YAML file or with Python's logging; None where it is neither."""
    text = " ".join(str(error).split())
    frames = extract_tb(error.__traceback__)
    if isinstance(error, YAMLError):
        return f"A config file is no YAML of plain values, and nothing in it was run: {text}."
    # By the place: where a job raises the same, that is a fault of the program.
    if isinstance(error, UnicodeDecodeError) and any("config_source" in f.filename for f in frames):
        return f"A config file is no UTF-8 ({text}). Save it as UTF-8."
    if type(error) is ValueError and any(f.name == "configure_log" for f in frames):
        cause = " ".join(str(error.__cause__ or "").split())
        said = text if cause in text else f"{text}: {cause}"
        return (
            f"hydra.job_logging or hydra.hydra_logging holds what is not run: {said.rstrip('.')}. "
            "Leave both as Hydra has them."
        )
    return None


def hydra_string(value: str) -> str:
    """Write a text in Hydra's grammar, whatever marks it has."""
    # Backslashes count only before a quote, where each is doubled.
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
    return f'"{escaped}"'


def quoted(key: str, value: str) -> str:
    """Write a setting as the shell has to be given it where its value is a name with marks."""
    return shlex.quote(f"{key}={hydra_string(value)}")


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


def typed_words(config: DictConfig, kind: str = "task") -> list[str]:
    """Return the words of a command as they were typed, of Hydra's own with ``kind="hydra"``.

    Iterating over them would put values in place of what they leave to each job, ``${bands.n}``.
    """
    found = OmegaConf.select(config, f"hydra.overrides.{kind}")
    plain = [] if found is None else OmegaConf.to_container(found, resolve=False)
    assert isinstance(plain, list)
    return [str(word) for word in plain]


def overrides_of(config: DictConfig) -> dict[str, str]:
    """Return the options chosen in each group, such as ``{"bands": "uniform"}``."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    choices = OmegaConf.to_container(HydraConfig.get().runtime.choices)
    assert isinstance(choices, dict)
    own = {str(k): str(v) for k, v in choices.items() if not str(k).startswith("hydra/")}
    return {key: value for key, value in own.items() if key in config or key in OVERLAYS}
