"""The one entrypoint: a config in, one score out.

``python -m hyperspec.train`` and ``hyperspec train`` are the same. Everything heavy is imported
inside the job, so that composing, ``--help`` and shell completion stay quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from hyperspec import schema
from hyperspec.launch import (
    CONFIG_NAME,
    TRUSTED,
    config_dir,
    prepare_arguments,
    report_error,
    use_full_errors,
)

schema.register()


@hydra.main(config_path=str(config_dir()), config_name=CONFIG_NAME, execution_whitelist=TRUSTED)
def job(config: DictConfig) -> float:
    """Run one job of Hydra's: train, evaluate, log; return the objective."""
    from hyperspec.jobs import run_job

    return run_job(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hyperspec train``; return the exit status.

    Args:
        arguments: Words of the command line; those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    use_full_errors()
    saved = sys.argv
    try:
        sys.argv = ["hyperspec-train", *prepare_arguments(given)]
        job()
    except Exception as error:  # noqa: BLE001 - report_error raises what is not the user's
        return report_error(error)
    finally:
        sys.argv = saved
    return 0


if __name__ == "__main__":
    sys.exit(main())
