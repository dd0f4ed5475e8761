"""The one entrypoint: a config in, one score out.

``python -m hyperspec.cli.train`` and ``hyperspec train`` are the same. Everything heavy is imported
inside the job, so that composing, ``--help`` and shell completion stay quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from hyperspec.config import config_dir, groups, plugins
from hyperspec.config.compose import (
    CONFIG_NAME,
    TRUSTED,
    prepare_arguments,
    report_error,
    use_full_errors,
)
from hyperspec.tracking.parent import IN_SWEEP
from hyperspec.utils.errors import HyperspecError, check_names

groups.register()


@hydra.main(config_path=str(config_dir()), config_name=CONFIG_NAME, execution_whitelist=TRUSTED)
def job(config: DictConfig) -> float | tuple[float, ...]:
    """Run one job of Hydra's: train, evaluate, log; return what is optimised."""
    from hyperspec.runs.job import run_job
    from hyperspec.runs.job_context import is_single_run

    try:
        return run_job(config)
    except HyperspecError as error:
        if is_single_run():
            # Past Hydra, which would put a line of its own in front of the paragraph.
            raise SystemExit(report_error(error)) from error
        error.add_note(IN_SWEEP)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hyperspec train``; return the exit status: 2 for wrong words, 1 for a failed job.

    Args:
        arguments: Words of the command line; those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    use_full_errors()
    saved = sys.argv
    try:
        check_names([*given, os.getcwd()])  # the folder of the command stands in what Hydra writes
        plugins.load_from_words(given)
        sys.argv = ["hyperspec-train", *prepare_arguments(given)]
        job()
    except Exception as error:  # noqa: BLE001 - report_error raises what is not the user's
        status = report_error(error)
        return 1 if IN_SWEEP in getattr(error, "__notes__", ()) else status
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    finally:
        sys.argv = saved
    return 0


if __name__ == "__main__":
    sys.exit(main())
