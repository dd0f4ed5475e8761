"""The one entrypoint: a config in, one score out.

``python -m hyperspec.cli.train`` and ``hyperspec train`` are the same. Everything heavy is imported
inside the job, so that composing, ``--help`` and shell completion stay quick.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import hydra
from omegaconf import DictConfig

from hyperspec.config import config_dir, groups, plugins
from hyperspec.config.compose import (
    CONFIG_NAME,
    TRUSTED,
    prepare_arguments,
    quoted,
    report_error,
    use_full_errors,
)
from hyperspec.tracking.config import TrackingConfig
from hyperspec.tracking.parent import IN_SWEEP
from hyperspec.utils.errors import HyperspecError, check_names
from hyperspec.utils.progress import progress, take_flag

groups.register()
# What `ckpt=` may hold besides a file's path, and the value that it is composed with.
_RUN_NAME = re.compile(r"[\w.+: =-]+")


@hydra.main(config_path=str(config_dir()), config_name=CONFIG_NAME, execution_whitelist=TRUSTED)
def job(config: DictConfig) -> float | tuple[float, ...]:
    """Run one job of Hydra's: train, evaluate, log; return what is optimised."""
    from hyperspec.runs.job import run_job
    from hyperspec.runs.job_context import is_single_run, started_in

    try:
        with chdir(started_in()):
            return run_job(config)
    except HyperspecError as error:
        if is_single_run():
            # Past Hydra, which would put a line of its own in front of the paragraph.
            raise SystemExit(2) from error
        error.add_note(IN_SWEEP)
        raise


def with_checkpoint(words: Sequence[str]) -> list[str]:
    """Put a file in place of the name of a run or a sweep in ``ckpt=``; see ``hyperspec evaluate``.

    Raises:
        HyperspecError: If the store of the words (``tracking.uri``) knows no such name.
    """
    from hyperspec.report.checkpoint_lookup import read_word

    given = [word.partition("=")[2] for word in words if word.startswith("tracking.uri=")]
    store = given[-1].strip("'\"") if given else TrackingConfig.uri
    found = list(words)
    for place, word in enumerate(words):
        key, _, value = word.partition("=")
        name = value.strip("'\"")
        if key.lstrip("+") != "ckpt" or not _RUN_NAME.fullmatch(name) or name == "null":
            continue
        if not Path(name).exists():
            path, told = read_word(name, store).find()
            print(f"ckpt={name}: {told}\ncheckpoint: {path}")
            found[place] = shlex.split(quoted(key, str(path)))[0]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hyperspec train``; return the exit status: 2 for wrong words, 1 for a failed job.

    Args:
        arguments: Words of the command line; those of the process by default.
    """
    try:
        return run_words(take_flag(list(sys.argv[1:] if arguments is None else arguments)))
    except Exception as error:  # noqa: BLE001 - report_error raises what is not the user's
        status = report_error(error)
        return 1 if IN_SWEEP in getattr(error, "__notes__", ()) else status


_USAGE = """\
usage: hyperspec train [group=option ...] [key=value ...]     one run, or a study's grid
       hyperspec train -m key=1,2,3 ...                       every combination"""
_ELSEWHERE = """
hyperspec options GROUP lists every word of a group, hyperspec options WORD looks for one.
hyperspec train ... --cfg job prints the config that words make, --hydra-help flags of Hydra."""


def _print_help() -> None:
    """Print the groups, the commonest words, and where the rest is."""
    from hyperspec.cli.commands.options import print_overview

    print(_USAGE)
    print_overview()
    print(_ELSEWHERE)


def run_words(given: Sequence[str]) -> int:
    """Run the words of ``hyperspec train``; return the exit status where all was told already.

    Raises:
        HyperspecError: If a word is wrong, or a single run fails for a reason that can be mended.
        Exception: What else ends a run.
    """
    use_full_errors()
    saved = sys.argv
    try:
        check_names([*given, os.getcwd()])  # the folder of the command stands in what Hydra writes
        plugins.load_from_words(given)
        if {"-h", "--help"} & set(given):
            _print_help()
            return 0
        with progress("Reading the config"):
            words = prepare_arguments(with_checkpoint(given))
        sys.argv = ["hyperspec-train", *words]
        job()
    except SystemExit as leaving:
        if isinstance(leaving.__cause__, HyperspecError):
            raise leaving.__cause__ from None
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    finally:
        sys.argv = saved
    return 0


if __name__ == "__main__":
    sys.exit(main())
