"""A run as it was read back from the store: nothing else looks into MLflow's own objects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hyperspec.tracking.contract import Name, Param, Tag
from hyperspec.utils.process import is_dead

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.tracking import MlflowClient

_PAGE = 1000  # runs that a store gives at once


@dataclass(frozen=True)
class RunRecord:
    """What a store, or a journal that waits for one, says of a run."""

    run_id: str
    name: str
    status: str
    """RUNNING, FINISHED, FAILED or KILLED."""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last value of each metric."""
    params: Mapping[str, str] = field(default_factory=dict)
    start_ms: int = 0
    end_ms: int | None = None
    experiment_id: str = ""
    artifact_uri: str = ""
    datasets: Sequence[DatasetInput] = ()
    model_id: str | None = None
    """The MLflow model that the run left, if any."""
    is_deleted: bool = False
    """Whether it is in the store's bin, from which it may be restored."""

    @classmethod
    def of(cls, run: Run) -> RunRecord:
        """Read MLflow's object."""
        info, models = run.info, run.outputs.model_outputs if run.outputs is not None else []
        return cls(
            str(info.run_id),
            str(info.run_name),
            str(info.status),
            run.data.tags,
            run.data.metrics,
            run.data.params,
            info.start_time,
            info.end_time,
            str(info.experiment_id),
            str(info.artifact_uri),
            run.inputs.dataset_inputs if run.inputs is not None else (),
            str(models[0].model_id) if models else None,
            info.lifecycle_stage == "deleted",
        )

    def tag(self, name: Tag) -> str:
        """Return a tag's value, empty without it."""
        return self.tags.get(name, "")

    def has(self, name: Tag) -> bool:
        """Say whether the run carries a tag."""
        return name in self.tags

    def number(self, *names: Name | str) -> float:
        """Return the first tag or parameter that is set as a number; NaN without one."""
        texts = (self.tags.get(name) or self.params.get(name) for name in names)
        return to_number(next((text for text in texts if text), None))

    @property
    def is_sweep(self) -> bool:
        """Whether it is the parent of a sweep."""
        return self.tag(Tag.KIND) == "sweep"

    @property
    def is_left_behind(self) -> bool:
        """Whether its process was on this machine and is gone."""
        return is_dead(self.tag(Tag.HOST), self.tag(Tag.PROCESS))

    @property
    def seconds(self) -> float:
        """How long it took, NaN while it runs; for a copy, how long the run that trained took."""
        own = math.nan if self.end_ms is None else (self.end_ms - self.start_ms) / 1000
        return to_number(self.tag(Tag.SECONDS) or None, own)

    @property
    def margin(self) -> float | None:
        """Margin of a sweep's equivalence tests as it was when the sweep began."""
        kept = to_number(self.params.get(Param.MARGIN))
        return kept if 0 < kept < 1 else None

    @property
    def race(self) -> int:
        """Trainings of each setting before a race looked; 0 of other sweeps."""
        return int(to_number(self.params.get(Param.RACE), 0.0) or 0)


def to_number(text: str | None, otherwise: float = math.nan) -> float:
    """Return a text's number, or what to take without one."""
    try:
        return otherwise if text is None else float(text)
    except ValueError:
        return otherwise


def read_run(client: MlflowClient, run_id: str) -> RunRecord:
    """Return a run.

    Raises:
        MlflowException: If there is none of that identity.
    """
    return RunRecord.of(client.get_run(run_id))


def search_runs(
    client: MlflowClient,
    experiments: Sequence[str],
    conditions: Iterable[str],
    *,
    limit: int | None = None,
    deleted: bool = False,
) -> list[RunRecord]:
    """Return the runs that meet all conditions, the newest first, from as many pages as it takes.

    Those that were deleted, and may be restored, are left out, or asked for alone.

    Conditions are such as :meth:`Tag.equals` and :func:`ended` give.
    """
    from mlflow.entities import ViewType

    query = " and ".join(conditions)
    found: list[RunRecord] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            list(experiments),
            query,
            run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
            max_results=min(limit or _PAGE, _PAGE),
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        found += map(RunRecord.of, page)
        token = page.token or None
        if token is None or (limit is not None and len(found) >= limit):
            return found


def ended(status: str) -> str:
    """Return the condition of a search that runs have a status, such as FINISHED."""
    return f"attributes.status = '{status}'"
