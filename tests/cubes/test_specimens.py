"""Parts of a foreground: what is a specimen, what is debris, and in which order they come."""

import numpy as np
import pytest

from hyperspec.cubes.specimens import find_specimens
from hyperspec.utils.errors import ConfigError


def frame(*boxes, shape=(60, 80)):
    """A foreground of rectangles (row, col, height, width)."""
    found = np.zeros(shape, bool)
    for row, col, height, width in boxes:
        found[row : row + height, col : col + width] = True
    return found


def corners(found):
    return [(w.row, w.col) for w in found.windows]


def test_rows_come_from_top_to_bottom_and_each_from_left_to_right():
    # The second row hangs lower on its left; the order is still that of reading.
    boxes = [(6, 60, 12, 10), (3, 33, 12, 10), (8, 5, 12, 10), (40, 5, 12, 10), (36, 50, 12, 10)]
    found = find_specimens(frame(*boxes))
    assert corners(found) == [(8, 5), (3, 33), (6, 60), (40, 5), (36, 50)]
    for place, (row, col) in enumerate(corners(found)):
        assert found.numbers[row + 6, col + 5] == place + 1
        assert found.mask(place).shape == (12, 10)
        assert found.mask(place).all()


def test_debris_is_no_specimen_and_belongs_to_none():
    found = find_specimens(frame((5, 5, 20, 20), (5, 50, 20, 20), (45, 20, 4, 4), (50, 60, 1, 20)))
    assert corners(found) == [(5, 5), (5, 50)]
    assert found.numbers[46, 21] == 0
    assert found.numbers[50, 65] == 0
    more = find_specimens(
        frame((5, 5, 20, 20), (5, 50, 20, 20), (45, 20, 4, 4)), min_part=0.04, gap=0
    )
    assert corners(more) == [(5, 5), (5, 50), (45, 20)]


def test_wings_beside_a_dark_body_are_one_specimen():
    wings = frame((10, 10, 30, 14), (10, 27, 30, 14))  # 3 free pixels, 0.1 of the longer side
    assert corners(find_specimens(wings)) == [(10, 10)]
    assert find_specimens(wings).windows[0][2:] == (30, 31)
    assert find_specimens(wings).numbers[20, 25] == 0  # the body stays background
    assert len(find_specimens(wings, gap=0)) == 2
    assert len(find_specimens(wings, gap=2)) == 2
    assert len(find_specimens(wings, gap=3)) == 1
    apart = frame((10, 10, 30, 14), (10, 34, 30, 14))  # 10 free pixels
    assert len(find_specimens(apart)) == 2


@pytest.mark.parametrize(
    ("foreground", "count"),
    [
        (np.ones((9, 9), bool), 1),
        (np.zeros((9, 9), bool), 0),
        (frame((4, 4, 2, 2)), 1),  # small, but all that there is
        (frame((0, 3, 1, 20), (0, 50, 1, 25), shape=(1, 80)), 1),  # a frame of one line
    ],
)
def test_frames_with_one_specimen_or_none(foreground, count):
    found = find_specimens(foreground)
    assert len(found) == count
    assert found.numbers.max() == count


def test_specimens_that_touch_by_a_corner_are_one():
    assert len(find_specimens(frame((5, 5, 10, 10), (15, 15, 10, 10)), gap=0)) == 1


def test_options_out_of_range_say_so():
    with pytest.raises(ConfigError, match=r"--min-part is 0; give a share above 0"):
        find_specimens(frame((1, 1, 5, 5)), min_part=0)
    with pytest.raises(ConfigError, match=r"--gap is -1; give a number of pixels"):
        find_specimens(frame((1, 1, 5, 5)), gap=-1)
