"""Spectral signatures: loops, weights of specimens, files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from hyperspec.evaluation.pictures import lay_out
from hyperspec.evaluation.signatures import (
    MarkedSignatures,
    draw_signatures,
    signature_table,
    spectral_signatures,
    write_signatures,
)

NM = np.array([350.5, 450.0, 550.0, 650.0])


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    specimens = ["a/0", "a/0", "a/1", "b/0", "b/0", "a/2", "loose"]
    labels = ["a", "a", "a", "b", "b", "a", None]
    return random.random((7, 4)), labels, specimens


def test_against_statistics_by_hand(rows):
    spectra, labels, specimens = rows
    a, b = spectral_signatures(spectra, labels, specimens)
    animals = [(spectra[0] + spectra[1]) / 2, spectra[2], spectra[5]]
    assert (a.label, a.num_specimens, b.label, b.num_specimens) == ("a", 3, "b", 1)
    np.testing.assert_allclose(a.mean, sum(animals) / 3)
    np.testing.assert_allclose(a.sd, np.sqrt(sum((s - a.mean) ** 2 for s in animals) / 2))
    np.testing.assert_allclose(b.mean, (spectra[3] + spectra[4]) / 2)
    assert np.isnan(b.sd).all()


def test_order_of_rows_does_not_matter(rows):
    spectra, labels, specimens = rows
    first = spectral_signatures(spectra, labels, specimens)
    order = [6, 2, 5, 4, 0, 1, 3]
    second = spectral_signatures(
        spectra[order], [labels[i] for i in order], [specimens[i] for i in order]
    )
    np.testing.assert_allclose(first[0].mean, second[0].mean)
    np.testing.assert_allclose(first[0].sd, second[0].sd)


def test_table_and_files(rows, tmp_path):
    signatures = spectral_signatures(*rows)
    csv, picture = write_signatures(
        signatures, NM, tmp_path / "out", marks_nm={"uniform": [350, 650], "pca": [550]}
    )
    read = pd.read_csv(csv)
    assert list(read.columns) == [
        "label",
        "num_specimens",
        "wavelength_nm",
        "mean",
        "sd",
        "quantity",
    ]
    told = signature_table(signatures, NM).assign(quantity="reflectance")
    pd.testing.assert_frame_equal(read, told, rtol=1e-5)
    assert read["wavelength_nm"].tolist() == [*NM, *NM]
    image = imread(picture)
    assert image.shape[0] > 600
    assert np.ptp(image[..., :3]) == 1.0


def test_curves_and_marks_lie_where_they_should(rows):
    signatures = spectral_signatures(*rows)
    descending = draw_signatures(
        [type(s)(s.label, s.num_specimens, s.mean[::-1], s.sd[::-1]) for s in signatures],
        NM[::-1],
        marks_nm={"pca": [450.0, 650.0]},
    )
    axes, strip = descending.axes
    np.testing.assert_allclose(axes.lines[0].get_xdata(), NM)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), signatures[0].mean)
    assert [text.get_text() for text in axes.get_legend().texts] == ["a (3)", "b (1)"]
    assert strip.lines[0].get_xdata().tolist() == [450.0, 650.0]
    assert [text.get_text() for text in strip.get_yticklabels()] == ["pca"]
    assert axes.get_ylabel() == "reflectance, mean ± sd"
    (raw,) = draw_signatures(signatures, NM, quantity="stored value").axes
    assert raw.get_ylabel() == "stored value, mean ± sd"
    (alone,) = draw_signatures(signatures, NM).axes
    np.testing.assert_allclose(alone.lines[1].get_ydata(), signatures[1].mean)
    assert alone.get_xlabel() == "wavelength (nm)"


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"spectra of shape \(2, 3\), 1 labels and 2 specimens"):
        spectral_signatures(np.zeros((2, 3)), ["a"], ["x", "y"])


def test_marks_are_drawn_into_the_same_picture(rows):
    signatures, marked = spectral_signatures(*rows), None
    for nm in ([NM[0], NM[-1]], [NM[1]], NM.tolist()):
        figure, whole = draw_signatures(signatures, NM, marks_nm={"even": nm}), BytesIO()
        lay_out(figure)
        figure.savefig(whole, format="png")
        whole.seek(0)
        marked = marked or MarkedSignatures(figure)
        np.testing.assert_array_equal(imread(BytesIO(marked.png(nm))), imread(whole))
