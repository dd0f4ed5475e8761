"""Several specimens in one frame: the parts of a foreground, in the order in which one reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Window
from hyperspec.utils.errors import ConfigError

# Smaller parts, as a share of the largest one, are debris: pins, legs, specks of dust.
MIN_PART = 0.1
# Free pixels between parts of one specimen, as a share of the largest part's longer side: a dark
# body between bright wings is lost by Otsu's threshold. In synthetic butterflies it is 0.11.
GAP = 0.15
# What is no larger than this in a frame of any size is noise of the threshold.
_MIN_PIXELS, _MIN_SIDE = 16, 3


@dataclass(frozen=True, eq=False)
class Specimens:
    """The specimens of one frame.

    Args:
        numbers: Shape ``(H, W)``: 0 for background and debris, else the specimen, from 1, in rows
            from top to bottom and in each row from left to right.
        windows: Bounding box of each specimen.
    """

    numbers: NDArray[np.int32]
    windows: tuple[Window, ...]

    def __len__(self) -> int:
        return len(self.windows)

    def mask(self, place: int) -> NDArray[np.bool_]:
        """Return the pixels of a specimen, 0 for the first one, within its bounding box."""
        return np.asarray(self.numbers[self.windows[place].slices] == place + 1)


def find_specimens(
    foreground: NDArray[np.bool_], *, min_part: float = MIN_PART, gap: int | None = None
) -> Specimens:
    """Divide a foreground into specimens: connected parts, those next to each other taken together.

    Args:
        foreground: Shape ``(H, W)``.
        min_part: Smallest part that counts, as a share of the largest one, above 0 and at most 1.
        gap: Free pixels, 0 or more, across which parts are still one specimen (rounded up to an
            even number); None takes 0.15 of the longer side of the largest part.

    Raises:
        ConfigError: If one of the two is outside its range.
    """
    from scipy import ndimage

    if not 0 < min_part <= 1:
        raise ConfigError(f"--min-part is {min_part:g}; give a share above 0 and at most 1.")
    if gap is not None and gap < 0:
        raise ConfigError(f"--gap is {gap}; give a number of pixels, 0 or more.")
    touching = np.ones((3, 3), bool)  # corners count
    joined, _ = ndimage.label(foreground, touching)
    if gap is None:
        gap = int(np.ceil(GAP * _longest(joined)))
    if gap:
        away = ndimage.distance_transform_cdt(~foreground, "chessboard")
        joined, _ = ndimage.label(away <= (gap + 1) // 2, touching)
        joined[~foreground] = 0
    sizes = _sizes(joined)
    largest = int(sizes.argmax())
    boxes = [
        Window(y.start, x.start, y.stop - y.start, x.stop - x.start)
        for y, x in ndimage.find_objects(joined)
    ]
    least = max(min_part * sizes[largest], _MIN_PIXELS)
    windows = {
        name: box
        for name, box in enumerate(boxes, start=1)
        if name == largest or (sizes[name] >= least and min(box[2:]) >= _MIN_SIDE)
    }
    order = _reading_order(windows)
    number_of = np.zeros(len(sizes), np.int32)
    number_of[order] = np.arange(1, len(order) + 1)
    return Specimens(number_of[joined], tuple(windows[name] for name in order))


def _sizes(joined: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the number of pixels of each part; 0 for the background, which is the first."""
    sizes = np.bincount(joined.ravel())
    sizes[0] = 0
    return sizes


def _longest(joined: NDArray[np.int32]) -> int:
    """Return the longer side of the largest part."""
    from scipy import ndimage

    box = ndimage.find_objects(joined, int(_sizes(joined).argmax()))[-1:]
    return max((s.stop - s.start for sides in box for s in sides), default=0)


def _reading_order(windows: dict[int, Window]) -> list[int]:
    """Order by rows: one whose middle lies beside the row's first one belongs to that row."""
    centre = {name: (w.row + w.height / 2, w.col + w.width / 2) for name, w in windows.items()}
    rows: list[list[int]] = []
    for name in sorted(windows, key=lambda name: centre[name]):
        first = windows[rows[-1][0]] if rows else None
        if first is not None and centre[name][0] < first.row + first.height:
            rows[-1].append(name)
        else:
            rows.append([name])
    return [name for row in rows for name in sorted(row, key=lambda name: centre[name][1])]
