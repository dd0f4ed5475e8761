"""What is given damaged files, and what may come of it: a right result, or an error of ours.

A target makes whole files once, in a folder of its own; an example is one of their names with other
content. Some names stand for an edit that keeps a checksum right, as a stranger would.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from cube_oracle import header_text
from hypothesis import strategies as st
from mutation import edited_json, mutated_files

from hyperspec.cubes.checksums import bytes_digest, combined
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels, PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.export import export_store
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.inference.restore import restore
from hyperspec.report.prediction_rows import prediction_rows
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.tracking.offline.journal import (
    Head,
    Journal,
    grouped,
    merged,
    new_local_id,
    pending,
    waiting_runs,
)
from hyperspec.utils.errors import HyperspecError

Example = tuple[str, bytes]
LONGEST_S = 2.0
KEPT = Path(__file__).parent / "kept"
ASSETS = Path(__file__).parents[1] / "assets"
AXIS = SpectralAxis.linear(400, 700, 7)
NAMES = ("A b_1D_010101", "A b_2V_010101", "C d_3D_010101")


@dataclass(frozen=True)
class Prepared:
    """A target that is ready: what to draw, and what to do with it."""

    examples: st.SearchStrategy[Example]
    run: Callable[[str, bytes], None]
    allowed: tuple[type[Exception], ...] = (HyperspecError,)
    seeds: Mapping[str, bytes] = field(default_factory=dict)
    """Whole files that a guided search begins with; for targets of ``GUIDED``."""


def attempt(prepared: Prepared, example: Example) -> None:
    """Run an example; an error that is allowed has something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            prepared.run(*example)
        except prepared.allowed as error:
            message = str(error)
            if not 5 < len(message) < 3000:
                raise AssertionError(f"{type(error).__name__} says {message[:300]!r}") from error


class SlowError(Exception):
    """An example took too long."""


def timed(prepared: Prepared, example: Example) -> float:
    """Run an example and return its seconds of the processor."""
    start = time.process_time()
    attempt(prepared, example)
    took = time.process_time() - start
    if took > LONGEST_S:
        raise SlowError(f"{took:.1f} s")
    return took


def keep(target: str, example: Example) -> Path:
    """Keep an example for `make test`; return its file."""
    whole = example[0].encode() + b"\n" + example[1]
    path = KEPT / target / sha256(whole).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole)
    return path


def header(folder: Path) -> Prepared:
    """An ENVI header beside 48 bytes of values."""
    seed = header_text(
        description="{made = by\n a {test}}", byte_order=0, header_offset=0,
        file_type="ENVI Standard", fwhm="{1, 2, 3}", bbl="{1, 1, 0}",
        reflectance_scale_factor=10000, data_ignore_value=65535,
    ).encode()  # fmt: skip
    pieces = [b"samples = ", b"wavelength = {", b"data type = 6\n", b"ENVI", b"um"]
    path = folder / "x.bil"
    path.write_bytes(bytes(range(48)))

    def run(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        with open_cube(path) as cube:
            assert min(cube.shape) >= 1
            assert len(cube.axis) == cube.shape[0]
            assert cube.read_raw().nbytes <= 48
            assert cube.read().shape == cube.shape

    run("x.hdr", seed)
    return Prepared(mutated_files({"x.hdr": seed}, pieces), run, seeds={"x.hdr": seed})


def labels(folder: Path) -> Prepared:
    """A table of labels, in several encodings."""
    files = [f"s{i:02d}.bil" for i in range(4)]
    rows = [f"{name},{'one' if i % 2 else 'two'},{i},D" for i, name in enumerate(files)]
    text = "\n".join(["file,species,specimen,view", *rows, ""])
    seeds = {"plain": text.encode(), "semicolons": text.replace(",", ";").encode()}
    seeds |= {"mark": text.encode("utf-8-sig"), "utf-16": text.encode("utf-16")}

    def run(_: str, content: bytes) -> None:
        (folder / "labels.csv").write_bytes(content)
        found = CsvLabels().assign(folder, files)
        assert found.files.keys() <= set(files)
        for known in found.files.values():
            assert known.label is None or known.label.strip()

    pieces = [b"file", b"species", b"\xff\xfe", b'"']
    return Prepared(mutated_files(seeds, pieces), run, seeds=seeds)


def _specimens(folder: Path) -> Store:
    """Pack three images of 10 px."""
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:12, :14]
        disc = (y - 6) ** 2 + (x - 7) ** 2 < 20
        values = np.where(disc, rng.uniform(0.3, 0.8, 7)[:, None, None], 0.02)
        write_envi(folder / f"data/{name}.bil", values + 0.001, AXIS, dtype=np.float32)
    catalogue = scan(folder / "data", labels=PatternLabels())
    store = pack(catalogue, PrepareSettings(size=10), folder / "cache", num_threads=1)
    store.statistics(range(len(store)))
    return store


def _rewritten(store: Path, name: str, content: bytes) -> None:
    """Put a file into a store and keep the sums of its index right."""
    index = json.loads((store / "store.json").read_text())["content"]
    if name == "store.json":
        index = json.loads(content)
    else:
        (store / name).write_bytes(content)
        index["sums"][name] = bytes_digest(content)
    (store / "store.json").write_text(json.dumps({"content": index, "checksum": combined([index])}))


def store(folder: Path) -> Prepared:
    """A store with one damaged file, also with its sums kept right; packing mends it."""
    made = _specimens(folder / "whole")
    cache, inside = folder / "whole/cache", made.folder.relative_to(folder / "whole/cache")
    catalogue = scan(folder / "whole/data", labels=PatternLabels())
    before = (made.planes(range(3)).tobytes(), made.masks(range(3)).tobytes(), made.table.to_csv())
    files = {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.suffix in (".json", ".parquet", ".npy", ".npz")
    }
    index = json.dumps(json.loads(files[str(inside / "store.json")])["content"])
    kept = {f"sums/{name}": files[str(inside / name)] for name in ("table.parquet", "masks.npy")}
    kept["sums/store.json"] = index.encode()

    def run(name: str, content: bytes) -> None:
        target = folder / "cache"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(cache, target)
        foreign = name.startswith("sums/")
        if foreign:
            try:
                _rewritten(target / inside, name.removeprefix("sums/"), content)
            except ValueError:  # no JSON any more
                return
        else:
            (target / name).write_bytes(content)
        for verify in (False, True):
            with contextlib.suppress(HyperspecError):
                _read_all(Store.open(target / inside, verify=verify))
        if not foreign:
            settings = PrepareSettings(size=10)
            mended = pack(catalogue, settings, target, num_threads=1, verify=True)
            found = mended.planes(range(3)).tobytes(), mended.masks(range(3)).tobytes()
            assert (*found, mended.table.to_csv()) == before

    return Prepared(mutated_files({**files, **kept}), run)


def _read_all(opened: Store) -> None:
    rows = range(len(opened))
    opened.table.to_csv()
    opened.planes(rows), opened.masks(rows)
    opened.statistics(rows)
    for row in rows:
        np.asarray(opened.image(row))


def exports(folder: Path) -> Prepared:
    """An export of a store whose table names anything: nothing is written beside the folder."""
    made = _specimens(folder / "own")
    table = made.table
    column = json.dumps(table["file"].tolist()).encode()
    seeds = {f"{name}.json": column for name in ("file", "label", "specimen")}
    before = {path for path in folder.rglob("*") if path.is_file()}
    whole = {name: (made.folder / name).read_bytes() for name in ("store.json", "table.parquet")}

    def run(name: str, content: bytes) -> None:
        try:
            values = json.loads(content)
        except ValueError:
            return
        if not isinstance(values, list) or len(values) != len(table):
            return
        for file, intact in whole.items():
            (made.folder / file).write_bytes(intact)
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        path = folder / "changed.parquet"
        try:
            table.assign(**{name.removesuffix(".json"): texts}).to_parquet(path, index=False)
        except ValueError:  # lone surrogates
            return
        _rewritten(made.folder, "table.parquet", path.read_bytes())
        path.unlink()
        out = folder / "out/export"
        try:
            export_store(Store.open(made.folder), out, "envi")
        finally:
            shutil.rmtree(out, ignore_errors=True)
            assert {path for path in folder.rglob("*") if path.is_file()} == before

    return Prepared(mutated_files(seeds, [b"../", b"\\\\", b"/tmp/", b".bil", b"\\u0000"]), run)


def checkpoint(folder: Path) -> Prepared:
    """A checkpoint: its bytes, and each value that it carries, under a right checksum."""
    version = sorted(path.parent.name for path in ASSETS.glob("*/numbers.json"))[-1]
    with tarfile.open(ASSETS / version / "assets.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    source = min(folder.glob("checkpoints/*/last.ckpt"), key=lambda path: path.stat().st_size)
    intact = source.read_bytes()
    carried = torch.load(source, weights_only=True)
    known = carried["hyperspec"]
    plain = {key: known[key] for key in ("config", "bands")}
    target = folder / "x.ckpt"

    def run(name: str, content: bytes) -> None:
        if name == "values":
            edits = json.loads(content)
            if not isinstance(edits, dict):
                return
            torch.save({**carried, "hyperspec": {**known, **edits}}, target)
            content = target.read_bytes()
        target.write_bytes(content)
        target.with_name("x.ckpt.sha256").write_text(sha256(content).hexdigest() + "\n")
        restore(target, root=str(folder / "specimens"), cache_dir=str(folder / "cache"))

    changed = st.tuples(st.just("values"), edited_json(json.dumps(plain).encode()))
    return Prepared(st.one_of(mutated_files({"bytes": intact}), changed), run)


def predictions(folder: Path) -> Prepared:
    """A job's table of predictions."""
    seed = b"file,specimen,label,knn_correct,accuracy\na.bil,001,x,1,0.5\nb.bil,NA,'=y,,\n"
    path = folder / "p.csv"

    def run(_: str, content: bytes) -> None:
        path.write_bytes(content)
        table = prediction_rows(path, ("file", "knn_correct", "accuracy"))
        assert table["knn_correct"].dropna().isin([0, 1]).all()
        assert list(table.columns) == list(dict.fromkeys(table.columns))

    return Prepared(mutated_files({"p.csv": seed}), run, (ValueError,), {"p.csv": seed})


def journal(folder: Path) -> Prepared:
    """A run's folder in the outbox: its head, its lines, how far they were sent."""
    head = Head(new_local_id(), "sqlite:///x.db", "study", "run", 1, {"a": "b"})
    made = Journal.create(folder / "whole", head)
    made.append({"op": "tags", "tags": {"hyperspec.kind": "job"}})
    made.append({"op": "params", "params": {"lr": "0.1"}})
    made.append({"op": "metrics", "metrics": {"objective": 0.5}, "time_ms": 3})
    made.append({"op": "metrics", "rows": [["train/loss", 1.5, 3, 10], ["lr", 0.1, 3, 10]]})
    made.append({"op": "artifact", "file": "files/own.txt", "folder": None})
    made.append({"op": "end", "status": "FINISHED", "time_ms": 2})
    made.set_run_id("0" * 32)
    made.close()
    names = ("run.json", "journal.jsonl", "sent.json")
    seeds = {name: (made.folder / name).read_bytes() for name in names}
    ops = [b'{"seq": 2, "op": ', b'"tags": 1', b'"rows": [[]]', b'"metrics": {"a": "b"}']

    def run(name: str, content: bytes) -> None:
        outbox = folder / "outbox"
        shutil.rmtree(outbox, ignore_errors=True)
        shutil.copytree(folder / "whole", outbox)
        (path,) = pending(outbox)
        (path / name).write_bytes(content)
        for one in waiting_runs(outbox):
            assert all(isinstance(value, float) for value in one.metrics.values())
        opened = Journal.open(path)
        if opened is not None:
            for group in grouped(opened.entries()):
                merged(group)
            line = opened.append({"op": "end", "status": "FAILED", "time_ms": 2})
            assert opened.entries()[-1] == line
            opened.close(remove=True)

    return Prepared(mutated_files(seeds, ops), run, seeds=seeds)


GUIDED = ("header", "labels", "predictions", "journal")  # 10,000 take minutes

TARGETS: dict[str, Callable[[Path], Prepared]] = {
    target.__name__: target
    for target in (header, labels, store, checkpoint, exports, predictions, journal)
}
