"""What a training step is given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A training batch: row numbers, and pixels when they were read ahead.

    Args:
        rows: Row numbers in the source, shape ``(B,)``.
        images: Reflectance in the store's type, shape ``(B, n, S, S)``, or None when resident.
        masks: Foreground, shape ``(B, 1, S, S)``, or None when resident.
    """

    rows: Tensor
    images: Tensor | None = None
    masks: Tensor | None = None

    def pin_memory(self) -> Batch:
        """Pin the pixels; the DataLoader calls this."""
        if self.images is None or self.masks is None:
            return self
        return Batch(self.rows, self.images.pin_memory(), self.masks.pin_memory())
