"""Run `hyperspec train` with the words given, and print what its jobs cost the processor.

The last line is JSON: seconds of this process, all threads, at the start of each job, and of each
job's training.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import hyperspec.runs.job
from hyperspec.cli import train
from hyperspec.training.callbacks.monitoring import CostMeter

starts: list[float] = []
trained: list[float] = []
run_job, begin, end = hyperspec.runs.job.run_job, CostMeter.on_train_start, CostMeter.on_train_end


def timed_job(config: Any) -> Any:
    starts.append(time.process_time())
    return run_job(config)


def timed_begin(meter: CostMeter, *given: Any) -> None:
    trained.append(-time.process_time())
    begin(meter, *given)


def timed_end(meter: CostMeter, *given: Any) -> None:
    end(meter, *given)
    trained[-1] += time.process_time()


if __name__ == "__main__":
    hyperspec.runs.job.run_job = timed_job
    CostMeter.on_train_start = timed_begin  # type: ignore[method-assign]
    CostMeter.on_train_end = timed_end  # type: ignore[method-assign]
    status = train.main()
    print(json.dumps({"starts": starts, "trained": trained}))
    sys.exit(status)
