"""Prototypes against a loop, with the picture's numbers read back from the table."""

from __future__ import annotations

import numpy as np
import pytest

from hyperspec.evaluation.prototypes import class_prototypes, draw_prototypes, prototype_table


def test_equal_a_loop_over_labels_and_specimens() -> None:
    random = np.random.default_rng(0)
    labels = ["a"] * 5 + ["b"] * 4 + [None] + ["c"] * 2
    specimens = ["a/1", "a/1", "a/2", "a/3", "a/3", "b/1", "b/1", "b/2", "b/2", "x", "c/1", "c/1"]
    x = random.normal(size=(12, 6)) + 1
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    centres, spreads = {}, {}
    for name in "abc":
        means = []
        for animal in sorted({s for s, y in zip(specimens, labels, strict=True) if y == name}):
            means.append(np.mean([unit[i] for i in range(12) if specimens[i] == animal], axis=0))
        centre = np.mean(means, axis=0)
        centres[name] = centre / np.linalg.norm(centre)
        spreads[name] = np.mean([1 - m @ centres[name] / np.linalg.norm(m) for m in means])
    found = class_prototypes(x, labels, specimens)
    assert [(one.label, one.num_specimens) for one in found] == [("a", 3), ("b", 2), ("c", 1)]
    for one in found:
        np.testing.assert_allclose(one.centre, centres[one.label], atol=1e-12)
        assert one.spread == pytest.approx(spreads[one.label])
        distances = {n: 1 - centres[one.label] @ centres[n] for n in "abc" if n != one.label}
        assert one.nearest == min(distances, key=lambda n: distances[n])
        assert one.distance == pytest.approx(min(distances.values()))
    table = prototype_table(found)
    assert table["separation"][0] == pytest.approx(found[0].distance / found[0].spread)
    texts = [t.get_text() for t in draw_prototypes(found).axes[0].texts]
    assert texts[0] == f"{found[0].spread:.2f}"
    assert texts[1] == f"{1 - centres['a'] @ centres['b']:.2f}"


def test_one_label_has_no_neighbour_and_none_no_prototype() -> None:
    (one,) = class_prototypes(np.eye(2), ["a", "a"], ["1", "2"])
    assert one.nearest == ""
    assert np.isnan(one.distance)
    assert class_prototypes(np.eye(2), [None, None], ["1", "2"]) == []
    with pytest.raises(ValueError, match="do not fit together"):
        class_prototypes(np.eye(2), ["a"], ["1", "2"])
