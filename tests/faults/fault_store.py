"""Faults of what is done to a store by hand: a folder moved or copied, runs deleted in the UI."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from fault_harness import Place, Row, Run, Workshop, judge, scores, trained, wait_until

WORDS = ("-m", "bands.n=5,6", "epochs=30", "log_every_n_steps=1", "tracking.flush_seconds=0.2")


def _command(place: Place, *words: str) -> int:
    """Run another command of ``hyperspec`` in the scenario's folder."""

    def call() -> int:
        from hyperspec.cli.main import main

        return main(list(words))

    return place.fork(call).wait(300)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def moved_and_copied(shop: Workshop) -> Row:
    """A finished sweep's folder is moved, then copied; report, resume and model in each."""
    place = shop.fresh("moved")
    first, new, copy = (place.folder / name for name in ("first", "new place", "copy"))

    def sweep(folder: Path) -> int:
        words = (*WORDS, f"hydra.sweep.dir='{folder}/sweep'", "tracking.log_model=best")
        return place.start(*words, uri=f"sqlite:///{folder}/own.db").wait(600)

    def report(folder: Path) -> bool:
        out = folder / "again"
        status = _command(place, "report", f"{folder}/sweep", "--out", str(out))
        # It says so where what jobs said of each image is not found.
        return status == 0 and "No accuracy was tested" not in (out / "table.txt").read_text()

    def model(folder: Path) -> int:
        def call() -> int:
            import mlflow

            os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder}/own.db"
            client = mlflow.MlflowClient(uri)
            found = client.get_experiment_by_name(place.experiment)
            (made,) = client.search_logged_models([found.experiment_id])
            mlflow.pyfunc.load_model(made.model_uri)
            return 0

        return place.fork(call).wait(300)

    first.mkdir()
    began = sweep(first)
    first.rename(new)
    shutil.copytree(new, copy)
    untouched = _files(new)
    seen = {"sweep ends with 0": began == 0}
    for name, folder in (("copied", copy), ("moved", new)):
        seen[f"{name}: report"] = report(folder)
        seen[f"{name}: model"] = model(folder) == 0
        seen[f"{name}: same command ends with 0"] = sweep(folder) == 0
        seen[f"{name}: nothing trained again"] = len(trained(place.jobs(folder / "own.db"))) == 2
        if name == "copied":
            seen["the original is as it was"] = _files(new) == untouched
    seen["nothing at the old place"] = not first.exists()
    return judge(
        "folder of a sweep and its store moved; copied",
        "report, resume and models find everything where it is now, nothing goes to the old place",
        seen,
    )


def deleted(shop: Workshop, what: str, expected: dict[str, dict[str, float]]) -> Row:
    """A job's run, the sweep's run or the experiment is deleted while jobs train, then restored."""
    place = shop.fresh(f"deleted-{what}")
    database = place.folder / "own.db"
    uri = f"sqlite:///{database}"
    child = place.start(*WORDS, uri=uri)
    wait_until(lambda: len(_known_jobs(place, database)) > 0, 300)
    job = _known_jobs(place, database)[0]
    run_id = job.tags["mlflow.parentRunId"] if what == "parent" else job.run_id
    _mark(database, what, run_id, "deleted")
    status = child.wait(600)
    refused = _command(place, "sync")
    _mark(database, what, run_id, "active")
    delivered, twice = _command(place, "sync"), _command(place, "sync")
    runs = place.runs(database)
    jobs = [run for run in runs if run.tags["hyperspec.kind"] == "job"]
    rows = [place.rows(run.run_id, "train/loss", database) for run in jobs]
    text = " ".join(child.text().split())
    return judge(
        f"{'run of a job' if what == 'run' else what} deleted while jobs train, and restored",
        "results wait and are delivered once it is back; exit status and text say which",
        {
            "sweep ends with 1": status == 1,
            "says whose results wait": "does not take the results of" in text
            and (run_id if what != "experiment" else place.experiment) in text,
            "sync sends nothing before": refused == 1,
            "sync delivers": (delivered, twice) == (0, 0),
            "2 jobs and 1 parent FINISHED": [r.status for r in runs] == ["FINISHED"] * 3,
            "scores as without trouble": {r.params["bands.n"]: scores(r) for r in jobs} == expected,
            "each step of the loss once": all(
                len({step for step, _ in found}) == len(found) == 30 for found in rows
            ),
        },
    )


def _mark(database: Path, what: str, run_id: str, stage: str) -> None:
    """Do what the UI's buttons do, as fast as a job needs it."""
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as base, base:
        query = "SELECT experiment_id FROM runs WHERE run_uuid = ?"
        ((experiment,),) = base.execute(query, (run_id,)).fetchall()
        key, value = "run_uuid", run_id
        if what == "experiment":
            key, value = "experiment_id", experiment
            query = "UPDATE experiments SET lifecycle_stage = ? WHERE experiment_id = ?"
            base.execute(query, (stage, experiment))
        base.execute(f"UPDATE runs SET lifecycle_stage = ? WHERE {key} = ?", (stage, value))


def _known_jobs(place: Place, database: Path) -> list[Run]:
    if not database.exists():
        return []
    try:
        runs = place.runs(database)
    except (sqlite3.Error, KeyError):  # tables not there yet
        return []
    return [run for run in runs if run.tags.get("hyperspec.kind") == "job"]
