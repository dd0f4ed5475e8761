"""The plan that each run logs at its start, beside what it then measures."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from hyperspec.config.plain import to_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.prefetch import num_buffers
from hyperspec.runs.planning.step_memory import (
    Plan,
    StepSettings,
    plan_step,
    settings_of,
    step_context,
)
from hyperspec.tracking.contract import MetricName
from hyperspec.training.context import RunContext
from hyperspec.training.data import Material
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.atomic import write_text
from hyperspec.utils.device_memory import free_bytes, taken_bytes
from hyperspec.utils.version import __version__

log = logging.getLogger(__name__)
# What of a config decides shapes; the rest of it may differ between jobs that share a plan.
_SHAPING = ("model", "head", "loss", "views", "hardware")


def foretell(context: RunContext, module: SimCLR) -> None:
    """Log ``plan/peak_memory_mb`` and ``plan/gflop_per_step``; warn where memory may not suffice.

    A plan is remembered in ``data.cache_dir`` by what decides it: the jobs of a sweep that differ
    in seed or rate share one. The peak is that of the process, or of the GPU's allocator, as
    ``cost/peak_memory_mb`` measures it.
    """
    config, material = context.config, context.data
    settings = settings_of(config, 0)
    share = len(material.split.train) // settings.processes
    settings = StepSettings(
        min(settings.batch, share),
        settings.micro_batch,
        settings.accumulate,
        settings.processes,
        module.bank.residency.mode,
        _read_ahead(config, module),
    )
    key = _key(config, material, module, settings)
    kept = Path(config.data.cache_dir) / "plans" / f"{key}.json"
    try:
        plan = _read(kept)
        if plan is None:
            source = material.source
            around = step_context(config.hardware)
            plan = plan_step(module, settings, around, len(source), source.dtype.itemsize)
            write_text(kept, json.dumps(asdict(plan)))
    except Exception as error:  # noqa: BLE001 - whatever a forecast stumbles over, the run goes on
        log.warning("No forecast of memory: %s", error)
        return
    context.run.log_metrics(
        {
            MetricName.PLANNED_MEMORY: (taken_bytes(module.device) + plan.to_come) / 1e6,
            MetricName.PLANNED_WORK: plan.flop / 1e9,
        },
        module.global_step,
    )
    free = free_bytes(module.device)
    if plan.to_come > free:
        log.warning(
            "This run may not fit: about %.0f MB more are needed, %.0f MB are free. `hyperspec "
            "plan` with the same words says which setting to change.",
            plan.to_come / 1e6,
            free / 1e6,
        )


def _read_ahead(config: Train, module: SimCLR) -> int:
    """Return how many batches of planes lie in the host's memory beside the step's own."""
    hardware = config.hardware
    if module.bank.residency.mode != "mmap" or module.device.type != "cpu":
        return 0
    if hardware.micro_batch is not None or hardware.num_workers or not hardware.read_threads:
        return 0
    return num_buffers(hardware.read_threads, hardware.prefetch_factor) - 1


def _key(config: Train, material: Material, module: SimCLR, settings: StepSettings) -> str:
    shaping = {name: to_plain(getattr(config, name)) for name in _SHAPING}
    shaping["loss"].pop("temperature", None)  # what sweeps vary most
    facts = [
        type(module).__name__,
        module.device.type,
        len(material.source),
        material.source.dtype.itemsize,
        module.views.source_size,
        len(module.views.wavelengths_nm),
        module.encoder.num_bands,
        # Windows of wavelengths divide the bands.
        sum(p.numel() for p in module.parameters()),
        asdict(settings),
        shaping,
        torch.__version__,
        __version__,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> Plan | None:
    try:
        return Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
