"""The hull against SciPy's and against all pairs of bands."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from hyperspec.transforms.normalisation.continuum import ContinuumRemoval, upper_hull


def all_pairs_hull(position, spectrum):
    """The highest chord over each band."""
    hull = spectrum.copy()
    for i in range(len(position)):
        for k in range(i + 1, len(position)):
            inside = slice(i, k + 1)
            share = (position[inside] - position[i]) / (position[k] - position[i])
            chord = spectrum[i] + share * (spectrum[k] - spectrum[i])
            hull[inside] = np.maximum(hull[inside], chord)
    return hull


def shapes(rng, count, kind):
    u = np.linspace(-1, 1, count)
    return {
        "noise": rng.uniform(size=count),
        "concave": 1 - 0.9 * u**2,
        "convex": 0.05 + 0.9 * u**2,
        "edge": np.where(u < 0.5, 0.3 - 0.2 * u**2, 0.9),  # an arc, then a step up
        "saw": 0.5 + 0.4 * (np.arange(count) % 2),
        "line": 0.2 + 0.3 * (u + 1),
        "spike": np.where(np.arange(count) == count // 3, 1.0, 0.1),
    }[kind]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 40),
    kind=st.sampled_from(["noise", "concave", "convex", "edge", "saw", "line", "spike"]),
    regular=st.booleans(),
)
def test_hull_is_the_highest_chord(seed, count, kind, regular):
    rng = np.random.default_rng(seed)
    position = np.linspace(0, 1, count) if regular else np.sort(rng.uniform(size=count))
    spectra = np.stack([shapes(rng, count, kind), rng.uniform(size=count), np.zeros(count)])
    got = upper_hull(torch.tensor(position), torch.tensor(spectra)).numpy()
    want = np.stack([all_pairs_hull(position, s) for s in spectra])
    np.testing.assert_allclose(got, want, atol=1e-9)


@pytest.mark.parametrize("count", [3, 17, 128, 408])
def test_hull_matches_scipy_in_float32(count):
    rng = np.random.default_rng(count)
    nm = 348 + 1.1332 * np.arange(count)
    spectra = 0.5 + 0.2 * np.sin(nm / 60) + 0.02 * rng.normal(size=(20, count))
    x = torch.tensor(spectra, dtype=torch.float32)[:, :, None, None]
    got = ContinuumRemoval(nm)(x)[:, :, 0, 0].numpy()
    for row, spectrum in zip(got, spectra, strict=True):
        # Two points far below close the polygon, so that every other vertex is on the upper side.
        closed = np.vstack([np.column_stack([nm, spectrum]), [[nm[0], -1e3], [nm[-1], -1e3]]])
        vertices = np.sort([v for v in ConvexHull(closed).vertices if v < count])
        hull = np.interp(nm, nm[vertices], spectrum[vertices])
        np.testing.assert_allclose(row, 1 - spectrum / hull, atol=5e-6)


def test_depth_of_a_known_absorption():
    nm = np.array([400.0, 500, 600, 700, 800])
    spectrum = torch.tensor([0.4, 0.5, 0.3, 0.7, 0.6])
    # The hull runs 400 -> 700 -> 800: 0.4, 0.5, 0.6, 0.7, 0.6.
    depth = ContinuumRemoval(nm)(spectrum[None, :, None, None]).flatten()
    torch.testing.assert_close(depth, torch.tensor([0, 0, 0.5, 0, 0]), rtol=0, atol=1e-6)


def test_channel_order_and_gain_do_not_matter():
    rng = np.random.default_rng(1)
    nm = np.sort(rng.uniform(400, 800, 20))
    x = torch.tensor(rng.uniform(0.1, 0.9, size=(2, 20, 3, 3)), dtype=torch.float32)
    order = rng.permutation(20)
    plain = ContinuumRemoval(nm)(x)
    torch.testing.assert_close(ContinuumRemoval(nm[order])(x[:, order]), plain[:, order])
    torch.testing.assert_close(ContinuumRemoval(nm)(3000 * x), plain, rtol=1e-4, atol=1e-5)


def test_depths_lie_between_zero_and_one_even_below_zero_reflectance():
    x = torch.tensor(np.random.default_rng(2).normal(0.02, 0.05, size=(4, 33, 5, 5))).float()
    depth = ContinuumRemoval(np.linspace(400, 700, 33))(x)
    assert torch.isfinite(depth).all()
    assert depth.min() == 0
    assert depth.max() == 1  # a negative value counts as 0: full depth
