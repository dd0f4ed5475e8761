"""Ten thousand fake jobs in an SQLite store, each a copy of a real job's rows with other settings.

The jobs of a small sweep that was trained are the templates: a fake job has all rows of one (tags,
parameters, metrics with history, inputs) and its tables of predictions; its own are what tells jobs
apart: settings, identity (by the package, so that a sweep over these settings finds them finished),
scores, and which predictions are right. Rows are copied by SQL in one transaction: through MLflow's
client each job takes a good part of a second.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from hyperspec.cli.commands.plan import composed
from hyperspec.config.schema import Train
from hyperspec.runs.identity import identity, parts_of
from hyperspec.tracking.contract import Artifact, Tag

NAME = "fake jobs"
SEEDS = 5
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
GAIN = {"uniform": 0.0, "random": -0.04, "fngbs": 0.03, "mutual_information": 0.05}
COUNTS = (5, 10, 20, 50)
TEMPLATES = [f"bands={','.join(GAIN)}", f"bands.n={','.join(map(str, COUNTS))}"]
TABLES = ("tags", "params", "metrics", "latest_metrics")


@dataclass(frozen=True)
class Setting:
    """What a fake job was asked for."""

    strategy: str
    n: int
    temperature: float
    lr: float
    seed: int

    @property
    def accuracy(self) -> float:
        """A made-up accuracy that rises with bands and is best at one temperature and rate."""
        rise = 0.45 + 0.4 * (1 - np.exp(-self.n / 15))
        hill = 0.06 * np.log(self.temperature / 0.1) ** 2 + 0.02 * np.log(self.lr / 1e-3) ** 2
        return float(np.clip(rise + GAIN[self.strategy] - hill, 0.1, 0.97))

    @property
    def params(self) -> dict[str, str]:
        """Parameters that its template has otherwise."""
        varied = {"loss.temperature": self.temperature, "lr": self.lr, "seed": self.seed}
        return {key: str(value) for key, value in varied.items()}


def settings(count: int) -> list[Setting]:
    """Return so many settings: as many temperatures as it takes, over rates and seeds."""
    others = len(GAIN) * len(COUNTS) * len(RATES) * SEEDS
    temperatures = [round(float(t), 5) for t in np.geomspace(0.03, 1, -(-count // others))]
    grid = itertools.product(GAIN, COUNTS, temperatures, RATES, range(SEEDS))
    return [Setting(*one) for one in grid][:count]


def words(jobs: Sequence[Setting]) -> list[str]:
    """Return what a sweep over these settings varies, as words of ``hyperspec train -m``."""
    temperatures = dict.fromkeys(job.temperature for job in jobs)
    rates, seeds = ",".join(map(str, RATES)), ",".join(map(str, range(SEEDS)))
    varied = f"loss.temperature={','.join(map(str, temperatures))}"
    return [*TEMPLATES, varied, f"lr={rates}", f"seed={seeds}"]


@dataclass(frozen=True)
class Template:
    """A job that was trained: its run, its artifacts, its tags, its config."""

    run_id: str
    folder: Path
    tags: dict[str, str]
    config: Train
    predictions: pd.DataFrame
    others: dict[str, bytes]
    """Other tables that a report reads, by their paths among the artifacts."""


class Copier:
    """Copies rows of templates; ``words`` are those that the templates' sweep did not vary."""

    def __init__(self, tables: sqlite3.Connection, words: Sequence[str]) -> None:
        self.tables = tables
        self.columns = {
            name: [row[1] for row in tables.execute(f"PRAGMA table_info({name})")]
            for name in (*TABLES, "runs", "inputs", "input_tags")
        }
        self.templates = {
            (t.tags[Tag.STRATEGY], int(t.tags[Tag.NUM_BANDS])): t for t in self._templates(words)
        }

    def _templates(self, words: Sequence[str]) -> list[Template]:
        jobs = self.tables.execute(
            "SELECT run_uuid, artifact_uri FROM runs JOIN tags USING (run_uuid) "
            "WHERE key = ? AND value = 'job' AND status = 'FINISHED'",
            (Tag.KIND,),
        ).fetchall()
        found = []
        for run_id, uri in jobs:
            own = self.tables.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,))
            tags, folder = dict(own.fetchall()), Path(unquote(urlsplit(uri).path))
            varied = [f"bands={tags[Tag.STRATEGY]}", f"bands.n={tags[Tag.NUM_BANDS]}"]
            config = composed([*words, *varied])
            if _identity(config, tags) != {key: tags[key] for key in _identity(config, tags)}:
                raise SystemExit(f"the run {run_id} has another identity than its config")
            predictions = pd.read_csv(folder / Artifact.PREDICTIONS)
            named = (Artifact.CONTROLS, Artifact.CONFOUNDERS)
            others = {str(name): (folder / name).read_bytes() for name in named}
            found.append(Template(run_id, folder, tags, config, predictions, others))
        return found

    def copy(self, table: str, of: tuple[str, str], own: dict[str, object]) -> None:
        """Copy the rows of a run (or an input) with other values in some columns."""
        names = self.columns[table]
        taken = ", ".join("?" if name in own else name for name in names)
        self.tables.execute(
            f"INSERT INTO {table} ({', '.join(names)}) "
            f"SELECT {taken} FROM {table} WHERE {of[0]} = ?",
            (*(own[name] for name in names if name in own), of[1]),
        )

    def job(self, number: int, parent: str, setting: Setting, draw: np.random.Generator) -> None:
        """Write one job that is a copy of its template."""
        template = self.templates[setting.strategy, setting.n]
        run_id = uuid.UUID(bytes=draw.bytes(16)).hex
        folder = template.folder.parents[1] / run_id / "artifacts"
        score = self._files(template, folder, setting, draw)
        loss = dataclasses.replace(template.config.loss, temperature=setting.temperature)
        config = dataclasses.replace(template.config, loss=loss, lr=setting.lr, seed=setting.seed)
        told = f"{setting.strategy} n={setting.n:03d} t={setting.temperature:g}"
        name = f"{told} lr={setting.lr:g} seed={setting.seed}"
        own = {"run_uuid": run_id, "artifact_uri": folder.as_uri(), "name": name}
        self.copy("runs", ("run_uuid", template.run_id), own)
        for table in TABLES:
            self.copy(table, ("run_uuid", template.run_id), {"run_uuid": run_id})
        tags = _identity(config, template.tags)
        tags |= {Tag.PARENT: parent, Tag.NAME: name, Tag.JOB: str(number)}
        self._set("tags", run_id, tags)
        self._set("params", run_id, setting.params)
        near = setting.accuracy + 0.02 * draw.normal()
        scores = {"objective": near, "val/knn_top1": near, "test/knn_top1": score}
        scores |= {"test/knn_top1_low": score - 0.1, "test/knn_top1_high": min(score + 0.1, 1.0)}
        for table in ("metrics", "latest_metrics"):
            self._set(table, run_id, scores)
        inputs = self.tables.execute(
            "SELECT input_uuid FROM inputs WHERE destination_id = ?", (template.run_id,)
        ).fetchall()
        for (before,) in inputs:
            after = uuid.UUID(bytes=draw.bytes(16)).hex
            named: dict[str, object] = {"input_uuid": after, "destination_id": run_id}
            self.copy("inputs", ("input_uuid", before), named)
            self.copy("input_tags", ("input_uuid", before), {"input_uuid": after})

    def _set(self, table: str, run_id: str, values: dict[str, str] | dict[str, float]) -> None:
        self.tables.executemany(
            f"UPDATE {table} SET value = ? WHERE run_uuid = ? AND key = ?",
            [(value, run_id, key) for key, value in values.items()],
        )

    @staticmethod
    def _files(
        template: Template, folder: Path, setting: Setting, draw: np.random.Generator
    ) -> float:
        """Write the tables that a report reads; return the share of right predictions."""
        (folder / Artifact.PREDICTIONS).parent.mkdir(parents=True)
        right = draw.random(len(template.predictions)) < setting.accuracy
        table = template.predictions.assign(knn_correct=right.astype(int))
        table.to_csv(folder / Artifact.PREDICTIONS, index=False)
        for name, content in template.others.items():
            (folder / name).write_bytes(content)
        return float(right.mean())


def _identity(config: Train, tags: dict[str, str]) -> dict[str, str]:
    hashes = (tags[Tag.DATA_HASH], tags[Tag.SPLIT_HASH])
    return identity(config, *hashes, parts_of(config)).tags


def find_parent(database: Path) -> str | None:
    """Return the parent of the fake jobs of a store, None without any."""
    with contextlib.closing(sqlite3.connect(database)) as tables:
        row = tables.execute("SELECT run_uuid FROM runs WHERE name = ?", (NAME,)).fetchone()
    return None if row is None else str(row[0])


def write_jobs(database: Path, jobs: Sequence[Setting], words: Sequence[str]) -> str:
    """Write fake jobs and their parent beside the templates; return the parent's identity.

    ``words`` are those of the templates' sweep that it did not vary.
    """
    draw = np.random.default_rng(0)
    with contextlib.closing(sqlite3.connect(database)) as tables:
        copier = Copier(tables, words)
        (first,) = tables.execute(
            "SELECT run_uuid FROM tags WHERE key = ? AND value = 'sweep'", (Tag.KIND,)
        ).fetchone()
        parent = uuid.UUID(bytes=draw.bytes(16)).hex
        copier.copy("runs", ("run_uuid", first), {"run_uuid": parent, "name": NAME})
        for table in TABLES:
            copier.copy(table, ("run_uuid", first), {"run_uuid": parent})
        for number, setting in enumerate(jobs):
            copier.job(number, parent, setting, draw)
        tables.commit()
    return parent
