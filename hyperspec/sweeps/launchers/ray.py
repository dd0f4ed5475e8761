"""Jobs as tasks of Ray, on this machine or on a cluster that shares its file system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hydra.core.utils import JobReturn

from hyperspec.sweeps.launchers.base import LostError, Slots, Work, wait_until


class RayPool:
    """Tasks of Ray; ``init`` and ``remote`` are arguments of ``ray.init`` and ``ray.remote``.

    An ``address`` in ``init`` joins a cluster that runs.
    """

    def __init__(
        self,
        slots: Slots,
        init: Mapping[str, Any] | None = None,
        remote: Mapping[str, Any] | None = None,
    ) -> None:
        # Ray otherwise reports usage to its makers over the network.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self.slots, self.size = slots, slots.size
        started = dict(init or {})
        if not ray.is_initialized():
            if started.get("address") is None:
                started.setdefault("num_cpus", slots.size * slots.threads)
                started.setdefault("include_dashboard", False)
            ray.init(**started)
        share = {"num_cpus": slots.threads, **(remote or {})}
        # The launcher itself starts lost jobs again, and closes their runs before.
        self._remote: Any = ray.remote(**share, max_retries=0)(_run)
        self._running: dict[Any, int] = {}

    def submit(self, work: Work, number: int, overrides: list[str]) -> Any:
        """Hand a job to Ray."""
        slot = self.slots.take()
        handle = self._remote.remote(work, number, overrides, self.slots.settings(slot))
        self._running[handle] = slot
        return handle

    def done(self, handle: Any) -> bool:
        """See Pool."""
        ready, _ = self._ray.wait([handle], timeout=0)
        return bool(ready)

    def result(self, handle: Any) -> JobReturn:
        """See Pool."""
        self.slots.give(self._running.pop(handle))
        errors = self._ray.exceptions
        try:
            found: JobReturn = self._ray.get(handle)
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.RaySystemError,
        ) as error:
            raise LostError(type(error).__name__) from error
        return found

    def stop(self) -> None:
        """See Pool."""
        for handle in self._running:
            self._ray.cancel(handle)
        wait_until(lambda: all(self.done(handle) for handle in self._running))
        for handle in self._running:
            self._ray.cancel(handle, force=True)
        self._ray.shutdown()
        self._running = {}


def _run(work: Work, number: int, overrides: list[str], settings: dict[str, str]) -> JobReturn:
    return work(number, overrides, settings)
