"""Pairs of cells against a search in plain Python, for any warp."""

import math

import pytest
import torch
from torch import Tensor

from hyperspec.losses.dense import cell_centres, cell_size, pair_cells
from hyperspec.transforms.config import ViewsConfig
from hyperspec.transforms.spatial import SpatialSampler, crop_matrix, flip_matrix

SOURCE, SIZE = 48, 32


def warps(batch: int, seed: int, **settings: float) -> Tensor:
    """Inverse matrices (view to source) as training draws them: rotation, crop, flips."""
    torch.manual_seed(seed)
    return torch.linalg.inv(SpatialSampler(ViewsConfig(**settings), SOURCE, SIZE).draw(batch))


def by_search(
    one: Tensor, other: Tensor, shape: tuple[int, int], size: int, source_size: int
) -> list[tuple[int, int, float]]:
    """Pairs (first, second, distance) of one specimen, nearest first, cell by cell."""

    def place(matrix: Tensor, row: int, column: int) -> tuple[float, float] | None:
        x = (2 * column + 1) * size / (2 * shape[1]) - 0.5
        y = (2 * row + 1) * size / (2 * shape[0]) - 0.5
        m = matrix.tolist()
        px = m[0][0] * x + m[0][1] * y + m[0][2]
        py = m[1][0] * x + m[1][1] * y + m[1][2]
        inside = all(-0.5 <= p <= source_size - 0.5 for p in (px, py))
        return (px, py) if inside else None

    def side(matrix: Tensor) -> float:
        m = matrix.tolist()
        area = abs(m[0][0] * m[1][1] - m[0][1] * m[1][0])
        return math.sqrt(area * (size / shape[0]) * (size / shape[1]))

    cells = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    left = {k: p for k, c in enumerate(cells) if (p := place(one, *c)) is not None}
    right = {k: p for k, c in enumerate(cells) if (p := place(other, *c)) is not None}
    reach = min(side(one), side(other))
    found = []
    for i, p in left.items():
        if not right:
            break
        j = min(right, key=lambda k: math.dist(p, right[k]))
        back = min(left, key=lambda k: math.dist(right[j], left[k]))
        if back == i and math.dist(p, right[j]) <= reach:
            found.append((i, j, math.dist(p, right[j])))
    return sorted(found, key=lambda pair: pair[2])


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("shape", [(4, 4), (7, 5), (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_pairs_equal_a_search(seed: int, shape: tuple[int, int], limit: int | None) -> None:
    one, other = warps(9, seed), warps(9, seed + 100, crop_min=0.05, crop_max=0.4)
    found = pair_cells((one, other), shape, SIZE, SOURCE, limit)
    total = 0
    for row in range(9):
        expected = by_search(one[row], other[row], shape, SIZE, SOURCE)[:limit]
        valid = found.valid[row]
        pairs = zip(
            found.first[row][valid].tolist(), found.second[row][valid].tolist(), strict=True
        )
        assert list(pairs) == [(i, j) for i, j, _ in expected]
        total += len(expected)
    assert total > (0 if shape == (1, 1) else 9)
    assert found.first.shape == (9, min(shape[0] * shape[1], limit or 1000))


def test_the_order_of_the_views_does_not_matter() -> None:
    one, other = warps(6, 0), warps(6, 1)
    forth, back = (pair_cells(two, (5, 5), SIZE, SOURCE) for two in ((one, other), (other, one)))
    for row in range(6):
        pairs = set(
            zip(
                forth.first[row][forth.valid[row]].tolist(),
                forth.second[row][forth.valid[row]].tolist(),
                strict=True,
            )
        )
        swapped = set(
            zip(
                back.second[row][back.valid[row]].tolist(),
                back.first[row][back.valid[row]].tolist(),
                strict=True,
            )
        )
        assert pairs == swapped
        assert pairs


def boxes(first: list[float], last: list[float]) -> Tensor:
    """Inverse of a crop from one corner pixel to another, as one matrix."""
    (left, top), (right, bottom) = first, last
    corners = torch.tensor([[[left, top], [right, top], [right, bottom], [left, bottom]]])
    return torch.linalg.inv(crop_matrix(corners, SIZE))


def test_crops_that_do_not_overlap_have_no_pair() -> None:
    left, right = boxes([0, 0], [20, 20]), boxes([26, 26], [47, 47])
    assert not pair_cells((left, right), (4, 4), SIZE, SOURCE).valid.any()
    assert pair_cells((left, left), (4, 4), SIZE, SOURCE).valid.all()


def test_without_a_warp_each_cell_pairs_with_itself_and_with_its_mirror_image_when_flipped() -> (
    None
):
    still = torch.eye(3, dtype=torch.float64)[None]
    same = pair_cells((still, still), (3, 4), SIZE, SIZE)
    assert torch.equal(same.first, torch.arange(12)[None])
    assert torch.equal(same.second, same.first)
    flip = flip_matrix(torch.tensor([True]), torch.tensor([False]), SIZE)  # its own inverse
    mirrored = pair_cells((still, flip), (3, 4), SIZE, SIZE)
    expected = torch.arange(12).reshape(3, 4).flip(1).flatten()
    assert torch.equal(mirrored.second[0][mirrored.first[0].argsort()], expected)


def test_cells_outside_of_the_image_show_nothing() -> None:
    """Two views that look past the same edge share zeros, not a place of the specimen."""
    shifted = torch.eye(3, dtype=torch.float64)[None].clone()
    shifted[0, 0, 2] = SIZE / 2
    pairs = pair_cells((shifted, shifted), (4, 4), SIZE, SIZE)
    columns = (pairs.first[pairs.valid] % 4).tolist()
    assert sorted(columns) == [0] * 4 + [1] * 4


def test_centres_and_size_of_cells() -> None:
    still = torch.eye(3, dtype=torch.float64)[None]
    centres = cell_centres(still, (2, 2), 4)
    # Pixels 0 and 1 make the first cell: their centre lies between them.
    assert centres[0].tolist() == [[0.5, 0.5], [2.5, 0.5], [0.5, 2.5], [2.5, 2.5]]
    twice = torch.diag(torch.tensor([2.0, 2.0, 1.0]))[None]
    assert cell_size(twice, (2, 2), 4).item() == pytest.approx(4)
