"""What is looked at before the first job: the specimens that all jobs read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperspec.datasets.config import SplitSpec
from hyperspec.runs.planning.device_sharing import check_sharing

if TYPE_CHECKING:
    from hyperspec.config.schema import Train
    from hyperspec.datasets.config import Data

log = logging.getLogger(__name__)


def check_data(jobs: Sequence[Train]) -> None:
    """Open the specimens of all jobs, so that a missing or damaged file is found before them.

    What is not packed yet is packed here; the first job would have to. Jobs that share a device are
    also predicted to fit on it.

    Raises:
        HyperspecError: With the files that cannot be used, or the memory that is missing.
    """
    from hyperspec.training.data import open_source

    opened: list[Data] = []
    for job in jobs:
        # All splits have the same specimens, and the same warnings but for what they keep apart.
        data = replace(job.data, split=SplitSpec(group=job.data.split.group))
        if data not in opened:
            open_source(data)
            opened.append(data)
    check_sharing(jobs)
