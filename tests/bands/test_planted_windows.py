"""The planted truth: windows of 16 and 10 nm that only some species have."""

from pathlib import Path

import numpy as np
import pytest

from hyperspec.bands import Fisher, Mrmr
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.testing.synthetic.design import build_design
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings


def planted_statistics(root: Path, seed: int) -> SpectralStatistics:
    synthesise(root, SynthSettings(num_specimens=4, size=32, seed=seed))
    catalogue = scan(root, labels=CsvLabels())
    preparer = Preparer(catalogue, PrepareSettings(size=32))
    return SpectralStatistics.merge(
        [preparer.prepare(r).statistics.with_class(str(r.label)) for r in catalogue.records]
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_bands_meet_both_windows(tmp_path, seed):
    statistics = planted_statistics(tmp_path / "set", seed)
    windows = build_design("planted").windows
    hits = {}
    for strategy in (
        Mrmr(n=10),
        Fisher(n=10, pairs="cover"),
        Fisher(n=10),
        Fisher(n=10, pairs="max"),
    ):
        nm = strategy.select(statistics.axis, statistics).wavelengths_nm
        met = [bool((np.abs(nm - w.centre_nm) <= w.fwhm_nm / 2).any()) for w in windows]
        hits[strategy.name, getattr(strategy, "pairs", "")] = met
    assert hits["mrmr", ""] == [True, True]
    assert hits["fisher", "cover"] == [True, True]
    # Why cover exists: both plain rankings spend all ten bands on one window.
    assert hits["fisher", "mean"] == [False, True]
    assert hits["fisher", "max"] == [False, True]
