"""Freeze what the installed version writes, for the tests of all later ones.

    python tests/assets/make_assets.py tests/assets/0.1.0

makes ``assets.tar.xz`` (specimens, their packed store, checkpoints, sweeps, a search that was
stopped, runs that were never sent) and ``numbers.json`` (what this version computes from them).
``tests/test_frozen_artefacts.py`` reads both. It takes some minutes on two cores.

A set between two releases is named by the last one and a day, and may hold fewer checkpoints:

    python tests/assets/make_assets.py tests/assets/0.1.0-2026-11-30 projection filters

Run identities and times differ from making to making, so that a set is made once, by its release.
The weights of checkpoints are rounded coarsely, since random digits do not compress; the layout of
the files is untouched, and the numbers are those of the rounded weights.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import lzma
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import optuna
import pandas as pd
import torch
from mlflow.tracking import MlflowClient
from relocate import relocate

ROOT = "/hyperspec-assets"  # stands for the folder of the making
SPECIES = ("prima", "secunda", "tertia", "quarta")  # of the eight that are synthesised
NUM_BANDS = 12
EPOCH = 1_577_836_800  # 1 January 2020: the times of all files
NUM_IMAGES = 4  # whose embeddings are kept

BASE = [
    "experiment=demo", f"data.root={ROOT}/specimens", f"data.cache_dir={ROOT}/cache",
    "data.size=16", "data.split.fractions=[0.34,0.33,0.33]", "batch_size=8", "epochs=2",
    "warmup_steps=1", "head.hidden=16", "head.dim=8", "evaluation.k=3", "evaluation.resamples=100",
    "hardware.threads=1", "tracking.system_metrics=false", f"tracking.uri=sqlite:///{ROOT}/mlflow.db",
]  # fmt: skip
STEM = "model.stem_channels=4"
WAVELENGTH = ["model.stem=wavelength", "model.stem_channels=4"]
CHECKPOINTS = {
    "projection": ["model.stem=projection", "model.stem_channels=4", "bands.n=6"],
    "inflate": ["model.stem=inflate", "bands.n=4"],
    "wavelength": [*WAVELENGTH, "bands.n=6"],
    "attention": ["model.stem=attention", "model.stem_channels=4", "bands.n=6"],
    "learned": ["bands=learned", "bands.n=4", "model.stem_channels=4", "epochs=8"],
    "binned": ["bands=binned", "bands.n=4", "model.stem_channels=4"],
    "pca_projection": ["bands=pca_projection", "bands.n=4", "model.stem_channels=4"],
    "filters": ["bands=filters", "bands.n=4", "bands.width_nm=60", STEM],
    "supcon": ["loss=supcon", "bands.n=6", STEM],
    "cross_modal": ["views=cross_modal", "views.fusion=attention", "bands.n=12", *WAVELENGTH],
}
# One job ends, one asks for more bands than there are, one is stopped.
SWEEP = [
    *BASE, STEM, "epochs=60", "sweep.checkpoint_seconds=0", "study=broken",
    "tracking.experiment=broken", f"hydra.sweep.dir={ROOT}/sweep", "-m",
    f"bands.n=5,{NUM_BANDS + 1},6",
]  # fmt: skip
WHOLE = [
    *BASE, STEM, "study=whole", "tracking.experiment=whole", f"hydra.sweep.dir={ROOT}/whole",
    "-m", "bands.n=4,6",
]  # fmt: skip
SEARCH = [
    *BASE, STEM, "search=tpe", "epochs=20", "sweep.checkpoint_seconds=0", "study=search",
    "tracking.experiment=search", f"hydra.sweep.dir={ROOT}/search",
    f"hydra.sweeper.storage=sqlite:///{ROOT}/optuna.db", "hydra.sweeper.study_name=frozen",
    "hydra.sweeper.n_trials=4", "-m", "bands.n=choice(4,5,6)", "lr=interval(1e-4,1e-2)",
]  # fmt: skip
# Nothing listens at port 9 (discard) of this machine, so that the runs stay in the outbox.
AWAY = [
    *BASE, STEM, "study=away", "tracking.experiment=away", "tracking.uri=http://127.0.0.1:9",
    f"tracking.outbox={ROOT}/away/.hyperspec/outbox", f"hydra.sweep.dir={ROOT}/away/sweep",
    "-m", "bands.n=4,5",
]  # fmt: skip


class Maker:
    """A folder and the commands that are given in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program = str(Path(sys.executable).with_name("hyperspec"))
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def words(self, *words: str) -> list[str]:
        return [self.program, *(word.replace(ROOT, str(self.root)) for word in words)]

    def run(self, *words: str, status: int = 0) -> None:
        """Give a command; its exit status must be the expected one."""
        done = subprocess.run(
            self.words(*words), cwd=self.root, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode != status:
            raise SystemExit(f"{' '.join(words)}\nended with {done.returncode}:\n{done.stdout}")

    def stop(self, *words: str, when: Callable[[], bool]) -> None:
        """Give a command and interrupt it as Ctrl-C does when something holds."""
        process = subprocess.Popen(
            self.words(*words), cwd=self.root, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while not when():
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(words)}\nended too soon:\n{process.communicate()[0]}")
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        if not process.returncode:
            raise SystemExit(f"{' '.join(words)}\nended before it was stopped")


def make_specimens(maker: Maker) -> None:
    """Write small specimens: some species and bands of what ``hyperspec synth`` writes."""
    folder = maker.root / "specimens"
    maker.run("synth", f"{ROOT}/specimens", "--specimens", "3", "--size", "16", "--seed", "0")
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    kept = labels[labels["species"].str.split().str[1].isin(SPECIES)]
    for name in set(labels["file"]) - set(kept["file"]):
        (folder / name).unlink()
        (folder / f"{name}.hdr").unlink()
    kept.to_csv(folder / "labels.csv", index=False)
    for header in folder.glob("*.hdr"):
        _keep_some_bands(header)
    for path in folder.iterdir():
        os.utime(path, (EPOCH, EPOCH))


def _keep_some_bands(header: Path) -> None:
    text, path = header.read_text(), header.with_suffix("")
    bands, lines, samples = (
        int(re.search(rf"^{key} = (\d+)$", text, re.M)[1]) for key in ("bands", "lines", "samples")
    )
    chosen = np.linspace(0, bands - 1, NUM_BANDS).round().astype(int)
    np.fromfile(path, "<u2").reshape(lines, bands, samples)[:, chosen].tofile(path)
    before, listed, after = re.split(r"(?<=wavelength = \{)([^}]*)(?=\})", text)
    nm = [item.strip() for item in listed.split(",")]
    before = before.replace(f"bands = {bands}", f"bands = {NUM_BANDS}")
    header.write_text(before + ", ".join(nm[place] for place in chosen) + after)


def make_runs(maker: Maker) -> None:
    """Write everything else."""
    for name, words in CHECKPOINTS.items():
        print(name, flush=True)
        where = f"hydra.run.dir={ROOT}/checkpoints/{name}"
        maker.run("train", *BASE, *words, "study=checkpoints", where)
    for words in (WHOLE, AWAY):
        print(" ".join(words[-2:]), flush=True)
        maker.run("train", *words)

    print("sweep", flush=True)
    seen: dict[str, None] = {}

    def second_job_has_a_checkpoint() -> bool:
        # A job's folder goes when the job is done: the next folder is the other job's.
        seen.update((path.parent.name, None) for path in _interrupted(maker.root))
        return len(seen) == 2

    maker.stop("train", *SWEEP, when=second_job_has_a_checkpoint)

    print("search", flush=True)
    before = {path.parent.name for path in _interrupted(maker.root)}

    def third_trial_trains() -> bool:
        training = {path.parent.name for path in _interrupted(maker.root)} - before
        return bool(training) and _complete_trials(maker.root / "optuna.db") == 2

    maker.stop("train", *SEARCH, when=third_trial_trains)


def _interrupted(root: Path) -> list[Path]:
    return list(root.glob("cache/interrupted/*/?.ckpt"))


def _complete_trials(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        database = sqlite3.connect(path, timeout=5)
        query = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        found = int(database.execute(query).fetchone()[0])
        database.close()
    except sqlite3.OperationalError:  # its tables are being made
        return 0
    return found


def thin_out(root: Path) -> None:
    """Make all small: no pictures and pages, round weights."""
    for pattern in ("**/*.png", "**/*.html", "**/__pycache__"):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in root.rglob("*.ckpt"):
        content = torch.load(path, map_location="cpu", weights_only=True)
        for state in content.get("optimizer_states", []):
            for moments in state["state"].values():
                # Where nothing goes on, as from a job's last checkpoint, zeros do.
                goes_on = "interrupted" in path.parts
                moments["exp_avg"] = _round(moments["exp_avg"]) * float(goes_on)
                moments["exp_avg_sq"] = torch.full_like(
                    moments["exp_avg_sq"], moments["exp_avg_sq"].mean()
                )
        for key, value in content["state_dict"].items():
            content["state_dict"][key] = _round(value)
        torch.save(_relocated(content, str(root)), path)
        checksum = path.with_name(f"{path.name}.sha256")
        if checksum.exists():
            checksum.write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n")


def _round(values: torch.Tensor) -> torch.Tensor:
    if values.numel() < 1000 or not values.is_floating_point():
        return values
    step = values.std().clamp(min=1e-30)
    return (values / step).round() * step


def _relocated(value: Any, root: str) -> Any:
    """The same plain values and tensors with other paths."""
    if isinstance(value, str):
        return value.replace(root, ROOT)
    if isinstance(value, dict):
        for key in value:
            value[key] = _relocated(value[key], root)
        return value
    if isinstance(value, list | tuple):
        return type(value)(_relocated(item, root) for item in value)
    return value


def make_anonymous(root: Path) -> None:
    """Take out what tells on which machine and by whom the set was made."""
    source = Path(subprocess.check_output(
        [sys.executable, "-c", "import hyperspec; print(hyperspec.__path__[0])"], text=True
    ).strip()).parent  # fmt: skip
    relocate(root, str(root), ROOT)
    relocate(root, f"{tempfile.gettempdir()}/", f"{ROOT}/aside/")
    # An environment may lend its libraries from another.
    libraries = str(Path(mlflow.__file__).parents[1])
    relocate(root, libraries, f"{ROOT}/python/site-packages")
    relocate(root, sys.prefix, f"{ROOT}/python")
    relocate(root, sys.base_prefix + "/", f"{ROOT}/python/")
    relocate(root, str(source), f"{ROOT}/source")
    relocate(root, socket.gethostname(), "assets-host")
    # Processes are known by the machine's start too; nobody's start has this name.
    relocate(root, Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "assets-boot")
    user = getpass.getuser()
    database = sqlite3.connect(root / "mlflow.db")
    database.execute("UPDATE tags SET value = 'maker' WHERE key = 'mlflow.user'")
    database.execute("UPDATE runs SET user_id = 'maker' WHERE user_id = ?", (user,))
    database.commit()
    database.execute("VACUUM")
    database.close()
    for path in root.glob("away/.hyperspec/outbox/*/*.json*"):
        path.write_text(path.read_text().replace(f'"{user}"', '"maker"'))
    told = [
        f"{tempfile.gettempdir()}/",
        libraries,
        str(Path.home()),
        str(Path.cwd()),
        socket.gethostname(),
    ]
    for path in root.rglob("*"):
        if path.is_file():
            for word in told:
                if word.encode() in path.read_bytes():
                    raise SystemExit(f"{path} still names {word}")


def pack(root: Path, archive: Path) -> None:
    """Write the archive: sorted, without owners, all files of one time."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = EPOCH
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    # Floats repeat every four bytes; the dictionary holds the whole, so that copies cost nothing.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 7, "lc": 0, "lp": 2,
                "pb": 2, "dict_size": 1 << 26}]  # fmt: skip
    with (
        lzma.open(archive, "wb", filters=filters) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(root.rglob("*")):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=plain)


def measure(archive: Path) -> dict[str, Any]:
    """Unpack the archive elsewhere and return what this version reads and computes there."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
        relocate(root, ROOT, str(root))
        (command,) = entry_points(group="console_scripts", name="hyperspec")
        call = command.load()

        def run(*words: str, status: int = 0) -> None:
            # In this process: starting one takes longer than what it does.
            if call([word.replace(ROOT, str(root)) for word in words]) != status:
                raise SystemExit(f"{' '.join(words)} failed")

        checkpoints = {}
        for name in CHECKPOINTS:
            print("measure", name, flush=True)
            words = [f"{ROOT}/checkpoints/{name}/last.ckpt", f"{ROOT}/specimens"]
            words += ["--cache-dir", f"{ROOT}/cache"]
            evaluate = ["--out", f"{ROOT}/out", "--k", "3"]
            run("evaluate", *words, *evaluate)
            run("embed", *words, "--out", f"{ROOT}/out/e.parquet")
            table = pd.read_parquet(root / "out/e.parquet").head(NUM_IMAGES)
            checkpoints[name] = {
                "evaluation": json.loads((root / "out/evaluation.json").read_text()),
                "embeddings": dict(
                    zip(table["file"], map(_plain, table["embedding"]), strict=True)
                ),
            }
        uri = f"sqlite:///{root}/mlflow.db"
        mlflow.set_tracking_uri(uri)
        client = MlflowClient()
        runs = {}
        for experiment in ("broken", "whole"):
            found = client.get_experiment_by_name(experiment)
            runs[experiment] = {
                run.info.run_id: {
                    "name": run.info.run_name,
                    "status": run.info.status,
                    "kind": run.data.tags["hyperspec.kind"],
                    "identity": run.data.tags.get("hyperspec.identity"),
                    "bands.n": run.data.params.get("bands.n"),
                    "objective": run.data.metrics.get("objective"),
                }
                for run in client.search_runs([found.experiment_id])
            }
        (model,) = client.search_logged_models(
            [client.get_experiment_by_name("whole").experiment_id]
        )
        files = list(checkpoints["projection"]["embeddings"])
        given = pd.DataFrame({"file": [str(root / "specimens" / name) for name in files]})
        said = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict(given)
        study = optuna.load_study(study_name="frozen", storage=f"sqlite:///{root}/optuna.db")
        trials = [
            {"state": trial.state.name, "params": trial.params, "value": trial.value}
            for trial in study.trials
        ]
        # The set is kept small: pictures are not in it, and sync says so.
        run("sync", f"{ROOT}/away", "--uri", f"sqlite:///{root}/sent.db", status=1)
        sent = MlflowClient(f"sqlite:///{root}/sent.db")
        delivered = {
            run.info.run_name: {"status": run.info.status, "metrics": run.data.metrics}
            for run in sent.search_runs([sent.get_experiment_by_name("away").experiment_id])
        }
    return {
        "version": version("hyperspec-sweeps"),
        "root": ROOT,
        "commands": {"sweep": SWEEP, "whole": WHOLE, "search": SEARCH, "base": BASE},
        "checkpoints": checkpoints,
        "runs": runs,
        "model": {
            "id": model.model_id,
            "embeddings": dict(zip(files, map(_plain, said), strict=True)),
        },
        "trials": trials,
        "delivered": delivered,
    }


def _plain(embedding: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in embedding]


def write_numbers(folder: Path) -> None:
    """Write what this version makes of the archive."""
    numbers = json.dumps(measure(folder / "assets.tar.xz"), indent=1)
    # One list a line.
    numbers = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", numbers)
    (folder / "numbers.json").write_text(numbers + "\n")


def main(folder: Path, checkpoints: list[str]) -> None:
    """Make the set of one version."""
    for name in CHECKPOINTS.keys() - (set(checkpoints) or CHECKPOINTS.keys()):
        del CHECKPOINTS[name]
    if folder.name.partition("-")[0] != version("hyperspec-sweeps"):
        raise SystemExit(f"{version('hyperspec-sweeps')} is installed, not {folder.name}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as temporary:
        root = Path(temporary).resolve()
        maker = Maker(root)
        make_specimens(maker)
        make_runs(maker)
        thin_out(root)
        make_anonymous(root)
        pack(root, folder / "assets.tar.xz")
    write_numbers(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
