"""A rectangle of a cube."""

from __future__ import annotations

from typing import NamedTuple

from hyperspec.utils.errors import CubeError


class Window(NamedTuple):
    """Part of a frame, in pixels.

    Args:
        row: First line, 0-based.
        col: First sample, 0-based.
        height: Number of lines, at least 1.
        width: Number of samples, at least 1.
    """

    row: int
    col: int
    height: int
    width: int

    def check(self, num_lines: int, num_samples: int, where: str) -> None:
        """Raise when the window does not lie inside the frame.

        Raises:
            CubeError: Naming the window and the frame.
        """
        inside = (
            self.row >= 0
            and self.col >= 0
            and self.row + self.height <= num_lines
            and self.col + self.width <= num_samples
        )
        if not inside or self.height < 1 or self.width < 1:
            raise CubeError(
                f"{tuple(self)} (row, col, height, width) is no window of {where}, which has "
                f"{num_lines} lines and {num_samples} samples."
            )
