"""Words that several commands share: axes, lists, checkpoints, and data settings.

Data settings of commands that read a folder are the words of `hyperspec train`. The flags that said
the same until 0.1.0 are translated into these words, and named once.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.cli.commands import STORE
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from rich.table import Table

    from hyperspec.datasets.config import Data
    from hyperspec.inference.restore import Restored
    from hyperspec.spectra.axis import SpectralAxis

CKPT_HELP = (
    "a checkpoint (<run folder>/last.ckpt), the folder or name of a run or a sweep (its best job), "
    "or 'latest'"
)
AXIS_HELP = "'mission' (408 bands, 348.4 to 809.6 nm), START:STOP:COUNT in nm, or a file"


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add the option that names modules of the user's own."""
    parser.add_argument(
        "--plugins",
        metavar="A,B,...",
        help="modules of yours, with options that this needs (docs/extending.md)",
    )


def load_plugins(words: argparse.Namespace) -> None:
    """Load what is installed, and the modules that the words name.

    Raises:
        ConfigError: If one cannot be imported.
    """
    from hyperspec.config.plugins import load

    load([] if words.plugins is None else words.plugins.split(","), "--plugins")


def parse_axis(text: str | None, option: str) -> SpectralAxis | None:
    """Return the axis that ``mission``, ``START:STOP:COUNT`` or a file names; None for None.

    Raises:
        ConfigError: If the text is none of them.
        AxisError: If the file cannot be read as wavelengths.
    """
    from hyperspec.cubes.axis_file import read_axis_file
    from hyperspec.spectra.axis import SpectralAxis, mission_axis

    if text is None:
        return None
    if text == "mission":
        return mission_axis()
    if Path(text).is_file():
        return read_axis_file(Path(text), option)
    try:
        start, stop, count = text.split(":")
        return SpectralAxis.linear(float(start), float(stop), int(count))
    except ValueError as error:
        raise ConfigError(
            f"{option} is {text!r}; give {AXIS_HELP}, such as 400:1000:204. ({error})"
        ) from None


def table_of(left: Sequence[str], right: Sequence[str] = (), title: str | None = None) -> Table:
    """Return an empty table for the terminal: columns of texts, then columns of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in (*left, *right):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def write_text(path: Path, text: str) -> None:
    """Write a file, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}")


def words_of(text: str, option: str) -> list[str]:
    """Return the comma-separated words of an option.

    Raises:
        ConfigError: If there is none, or one is given twice.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found or len(set(found)) < len(found):
        raise ConfigError(f"{option} is {text!r}; give different words with commas between them.")
    return found


_WORD = re.compile(r"[+~]{0,2}((data|views)([./@][\w./@]*)?|hydra\.searchpath)=")
_PLAIN = re.compile(r"[\w./*?@+-]+")
# What an encoder's own settings take over beside the folder; the rest is as it was trained.
_OF_FOLDER = ("data.axis", "data.cache_dir", "data.store")


def add_data(parser: argparse.ArgumentParser, more: str = "", own: Sequence[str] = ()) -> None:
    """Let a command take data settings, and the flags that they replace.

    Args:
        parser: Of the command.
        more: What else the words may set.
        own: Flags of these names that the command has itself.
    """
    parser.add_argument(
        "hydra_words",
        nargs="*",
        metavar="data.KEY=VALUE",
        help=f"settings as for `hyperspec train`{more}, such as data.size=64 data/labels=none",
    )
    add_config_dir(parser)
    parser.set_defaults(old_flags=[])
    for flag in _OLD:
        if flag not in (*_OF_VIEWS, *own):
            parser.add_argument(flag, action=OldFlag, help=argparse.SUPPRESS)


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a folder of configs, as `hyperspec train` has it."""
    parser.add_argument("--config-dir", "-cd", metavar="DIR", help="folder of configs of yours")


def config_words(words: argparse.Namespace) -> list[str]:
    """Return that option as a word beside the settings."""
    return [] if words.config_dir is None else [f"--config-dir={words.config_dir}"]


def add_checkpoint(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add CKPT, FOLDER and the words that differ from the run's data settings."""
    add = parser.add_argument
    if several:
        add("checkpoints", nargs="+", metavar="CKPT", help=CKPT_HELP)
    else:
        add("checkpoint", metavar="CKPT", help=CKPT_HELP)
    add_uri(parser)
    add("folder", type=Path, metavar="FOLDER", help="cubes; read and split as in training")
    add_plugins(parser)
    add_data(parser)


def add_uri(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the store of runs."""
    parser.add_argument("--uri", help=STORE)


def checkpoints_from(words: argparse.Namespace, named: Sequence[str]) -> list[Path]:
    """Return the files of checkpoints that are named by file, folder, run or sweep; print them.

    Call it before anything heavy is imported: a wrong name is told at once.

    Raises:
        HyperspecError: If one names nothing, or what left no checkpoint.
    """
    from hyperspec.cubes.files import check_root
    from hyperspec.report.checkpoint_lookup import read_word

    check_root(words.folder)
    found = []
    with progress("Reading the runs"):
        places = [(meant, *meant.find()) for meant in [read_word(w, words.uri) for w in named]]
    for meant, path, told in places:
        if told:
            print(f"{meant.word}: {told}")
        print(f"checkpoint: {path}")
        found.append(path)
    return found


def split_words(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the words of a command line into the command's own and Hydra's.

    argparse would not find the latter between options.
    """
    hydra = [
        place
        for place, word in enumerate(given)
        if _WORD.match(word) and not (place and given[place - 1] == "--set")
    ]
    rest = [word for place, word in enumerate(given) if place not in hydra]
    return rest, [given[place] for place in hydra]


def words_from(words: argparse.Namespace) -> list[str]:
    """Return the data words of a command; say once what replaces the old flags among them.

    Raises:
        ConfigError: If a word sets nothing.
    """
    if words.old_flags:
        made = list(dict.fromkeys(word for _, new in words.old_flags for word in new))
        flags = ", ".join(dict.fromkeys(flag for flag, _ in words.old_flags))
        print(
            f"{flags}: goes with the next release; write {shlex.join(made)} instead.",
            file=sys.stderr,
        )
        words.hydra_words = [*made, *words.hydra_words]
        words.old_flags = []
    found = [*config_words(words), *words.hydra_words]
    wrong = [word for word in found if "=" not in word]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is no setting; give KEY=VALUE, such as data.size=64.")
    return found


def data_from(words: argparse.Namespace, folder: Path, usual: Sequence[str] = ()) -> Data:
    """Return the data settings of a command's folder, ``usual`` being the command's own defaults.

    Raises:
        ConfigError: If a word does not fit.
    """
    from hyperspec.config.compose_data import compose_data
    from hyperspec.cubes.files import check_root

    check_root(folder)
    return compose_data(words_from(words), folder, usual)


def restored_from(
    words: argparse.Namespace, checkpoint: Path, residency: str | None = None
) -> Restored:
    """Rebuild a checkpoint's encoder on the folder that the words name.

    The planes live in ``residency``, or where the run had them.
    """
    load_plugins(words)
    return _restored(checkpoint, words.folder, words_from(words), residency=residency)


def restored_beside(words: argparse.Namespace, checkpoint: Path) -> Restored:
    """Rebuild an encoder on a folder that the words describe for something else.

    Only what the folder lacks and where it is packed is taken from them: the encoder sees images
    as it was trained on.
    """
    load_plugins(words)
    told = [word for word in words_from(words) if word.lstrip("+").startswith(_OF_FOLDER)]
    return _restored(checkpoint, words.folder, told)


def _restored(checkpoint: Path, folder: Path | None, told: list[str], **data: Any) -> Restored:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with progress("Loading PyTorch and the encoder"):
        from hyperspec.inference.restore import restore

        root = None if folder is None else str(folder)  # None: the folder of the training
        return restore(checkpoint, told, root=root, **data)


def translate(words: argparse.Namespace, flag: str, value: str) -> None:
    """Keep an old flag as the words that say the same."""
    # A new list, since argparse shares defaults.
    words.old_flags = [*words.old_flags, (flag, _OLD[flag](value))]


class OldFlag(argparse.Action):
    """Keeps a flag's value as the words that say the same."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, _: str | None = None
    ) -> None:
        """Take one flag."""
        translate(namespace, self.option_strings[0], values)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    # Backslashes count only before a quote, where each is doubled.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value) + "'"


def _key(key: str, *first: str) -> Callable[[str], list[str]]:
    """Return what makes words of a flag's value: those that it implies, and its own key."""
    return lambda value: [*first, f"{key}={_quoted(value)}"]


def _axis(value: str) -> list[str]:

    if Path(value).is_file():
        return [f"data.axis={{file:{_quoted(value)}}}"]
    axis = parse_axis(value, "--axis")
    assert axis is not None
    start, stop = float(axis.wavelengths_nm[0]), float(axis.wavelengths_nm[-1])
    return [f"data.axis={{start_nm:{start!r},stop_nm:{stop!r},count:{len(axis)}}}"]


def _cache(value: str) -> list[str]:
    return ["data.store=none"] if value == "none" else [f"data.cache_dir={_quoted(value)}"]


_OLD: dict[str, Callable[[str], list[str]]] = {
    "--files": _key("data.pattern"),
    "--axis": _axis,
    "--size": _key("data.size"),
    "--calibrate": _key("data.calibrate"),
    "--white": _key("data.white"),
    "--dark": _key("data.dark"),
    "--white-reflectance": _key("data.white_reflectance"),
    "--mask": _key("data.mask"),
    "--crop-margin": _key("data.crop_margin"),
    "--split-fractions": lambda value: [f"data.split.fractions=[{value}]"],
    "--split-seed": _key("data.split.seed"),
    "--cache-dir": _cache,
    "--labels": _key("data/labels"),
    "--labels-file": _key("data.labels.file", "data/labels=csv"),
    "--column": _key("data.labels.column"),
    "--expression": _key("data.labels.pattern", "data/labels=pattern"),
    "--views": _key("views"),
    "--set": lambda value: [value if value.lstrip("+").startswith("views.") else f"views.{value}"],
}
_OF_VIEWS = ("--views", "--set")
