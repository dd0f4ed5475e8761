"""A folder of cubes and its store, in any order of what people, disks and kills do to them.

What packing gives is compared with packing the same cubes into an empty cache. A kill is what lies
in the cache at one of its renames: nothing that would tidy up is run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.labels import PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import HyperspecError

AXIS = SpectralAxis.linear(400, 700, 4)
SETTINGS = PrepareSettings(size=6)
NAMES = [f"{species}_{number}D_010101" for species in ("A b", "C d") for number in (1, 2)]


class StoreMachine(RuleBasedStateMachine):
    """Cubes come, change and go; files of the cache are damaged; packing is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.data, self.cache = self.folder / "data", self.folder / "cache"
        self.unseen = False  # damage that only checksums of all planes would find
        self.seed = 0

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        """Two cubes."""
        for name in NAMES[:2]:
            self.write(name)

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        """Add a cube, or replace it by another of the same size."""
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        values = np.full((4, 9, 9), 0.02)
        values[:, 2:7, 3:7] = rng.uniform(0.3, 0.8, (4, 1, 1))
        write_envi(self.data / f"{name}.bil", values, AXIS, dtype=np.float32)

    @precondition(lambda self: len(list(self.data.glob("*.bil"))) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Delete a cube."""
        path = data.draw(st.sampled_from(sorted(self.data.glob("*.bil"))))
        path.unlink()
        next(iter(self.data.glob(f"{path.stem}*.hdr"))).unlink()

    @rule()
    def pack(self) -> None:
        """Pack; all is right unless planes were damaged."""
        found = self.packed(self.cache)
        if not self.unseen:
            assert found == self.packed(self.folder / "fresh")

    @rule()
    def verify(self) -> None:
        """Pack with a look at each byte: all is right."""
        assert self.packed(self.cache, verify=True) == self.packed(self.folder / "fresh")
        self.unseen = False

    @rule(at=st.integers(0, 12))
    def kill(self, at: int) -> None:
        """Pack, and go on with what lay there at one of its renames."""
        with killed(self.cache, at):
            self.packed(self.cache)

    @precondition(lambda self: self.files())
    @rule(
        data=st.data(), how=st.sampled_from(["flip", "flip", "flip", "cut", "empty", "delete"]),
        looked=st.booleans(),
    )  # fmt: skip
    def damage(self, data: st.DataObject, how: str, looked: bool) -> None:
        """Change a file of the cache; somebody may have it looked at."""
        path = data.draw(st.sampled_from(self.files()))
        content = bytearray(path.read_bytes())
        if how == "delete":
            path.unlink()
        elif content:
            place = data.draw(st.integers(0, len(content) - 1))
            if how == "flip":
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(content if how == "flip" else content[: place if how == "cut" else 0])
        self.unseen = True
        if looked:
            self.verify()

    def files(self) -> list[Path]:
        """Return the files of the cache."""
        return sorted(p for p in self.cache.rglob("*") if p.is_file() and p.suffix != ".lock")

    def packed(self, cache: Path, verify: bool = False) -> tuple[bytes, bytes, str, str] | None:
        """Return all that a store gives; None where damage is told."""
        if cache != self.cache:
            shutil.rmtree(cache, ignore_errors=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                store = pack(
                    scan(self.data, labels=PatternLabels()), SETTINGS, cache, num_threads=1,
                    verify=verify,
                )  # fmt: skip
                return everything(store)
            except HyperspecError:
                assert self.unseen
                assert not verify
                return None


def everything(store: Store) -> tuple[bytes, bytes, str, str]:
    """Return planes, masks, statistics and table."""
    rows = range(len(store))
    planes, masks = store.planes(rows).tobytes(), store.masks(rows).tobytes()
    return planes, masks, store.statistics(rows).hash, store.table.to_csv()


@contextmanager
def killed(cache: Path, at: int) -> Iterator[None]:
    """Put the folder back to what it was before a rename."""
    kept = cache.with_name("kept")
    count, rename = 0, os.replace

    def replace(*words: object, **named: object) -> None:
        nonlocal count
        if count == at:
            shutil.copytree(cache, kept)
        count += 1
        rename(*words, **named)  # type: ignore[arg-type]

    with patch("os.replace", replace):
        yield
    if kept.exists():
        shutil.rmtree(cache)
        kept.rename(cache)
