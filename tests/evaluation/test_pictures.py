"""Pictures of embeddings and band marks."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.decomposition import PCA

from hyperspec.evaluation.pictures import draw_marks, draw_plane, to_plane


def test_pca_is_scikit_learns_on_unit_rows() -> None:
    x = np.random.default_rng(0).normal(size=(30, 7))
    points, title = to_plane(x)
    model = PCA(2, svd_solver="full")
    expected = model.fit_transform(x / np.linalg.norm(x, axis=1, keepdims=True))
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-12)
    first, second = model.explained_variance_ratio_
    assert title == f"PCA: {first:.0%} and {second:.0%} of the variance"
    again, _ = to_plane(x[::-1])  # the sign does not depend on the order of rows
    np.testing.assert_allclose(again[::-1], points, atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numba's own, while it compiles
def test_umap_keeps_groups_apart() -> None:
    random = np.random.default_rng(0)
    x = np.repeat(np.eye(4)[:2], 20, axis=0) + 0.05 * random.normal(size=(40, 4))
    points, title = to_plane(x, "umap")
    gap = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert gap > 2 * max(points[:20].std(), points[20:].std())
    assert title.startswith("UMAP")


def test_umap_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError):
        to_plane(np.eye(4), "umap")


def test_every_point_is_drawn_in_its_labels_colour() -> None:
    points = np.arange(12.0).reshape(6, 2)
    figure = draw_plane(points, ["b", "a", "b", None, "a", "b"], "title")
    drawn = {s.get_label(): s.get_offsets().tolist() for s in figure.axes[0].collections}
    assert drawn == {
        "no label": [[6.0, 7.0]],
        "a (2)": [[2.0, 3.0], [8.0, 9.0]],
        "b (3)": [[0.0, 1.0], [4.0, 5.0], [10.0, 11.0]],
    }


@pytest.mark.parametrize("num", [3, 40, 56])
def test_labels_differ_in_colour_and_shape_and_their_legend_is_whole(num: int) -> None:
    labels = [f"Genus species{place:02d}" for place in range(num)]
    figure = draw_plane(np.random.default_rng(0).normal(size=(num, 2)), labels, "title")
    FigureCanvasAgg(figure).draw()
    looks = {
        (tuple(one.get_facecolor()[0]), one.get_paths()[0].vertices.tobytes())
        for one in figure.axes[0].collections
    }
    assert len(looks) == num
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{label} (1)" for label in labels]
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    assert figure.axes[0].get_window_extent().x1 <= box.x0


def test_marks_lie_at_their_wavelengths() -> None:
    axes = draw_marks({"uniform 2": [400.0, 800.0], "rgb 1": [650.0]}, (380, 820)).axes[0]
    assert [line.get_xdata().tolist() for line in axes.lines] == [[400.0, 800.0], [650.0]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["uniform 2", "rgb 1"]
