"""Features of images in which a window of wavelengths is replaced, or that of another specimen.

Behind a linear stem a window changes a sum: what it adds to the few projected channels is computed
from its own bands, and the rest of a spectrum is read once per image and not once per window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.models.eval_mode import eval_mode
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.normalisation.pixelwise import RELATIVE_ZERO, Snv

Indices = NDArray[np.intp]
MOST_BYTES = 2**30  # of pixels in memory
_AT_ONCE = 64  # images per call of the backbone
_EDGE = 3  # bands on either side of a window that levels are matched by
_MOST_GAIN = 4.0


def is_quick(embedder: Embedder, num_bands: int) -> bool:
    """Say whether only a window's own bands are computed anew.

    So it is behind a linear stem without a reduction, with a normalisation of single bands or SNV.
    """
    normalisation = embedder.normalisation
    fits = normalisation.per_band_affine is not None
    fits = fits or (isinstance(normalisation, Snv) and num_bands > 1)
    return embedder.encoder.projects and embedder.reduction is None and fits


class WindowReplacer:
    """Embeds images with a window of bands replaced.

    Args:
        embedder: The frozen encoder with what stands in front of it.
        rows: Images, numbers in the source, ``(N,)``.
        wavelengths_nm: Centres of the bands that are read, in channel order, nanometres, ``(n,)``.
    """

    @torch.no_grad()
    def __init__(
        self, embedder: Embedder, rows: Indices, wavelengths_nm: NDArray[np.float64]
    ) -> None:
        self.embedder, self.num = embedder, len(rows)
        self._nm = torch.from_numpy(np.asarray(wavelengths_nm, np.float64))
        batches = [embedder.bank.batch(some) for some in torch.split(torch.tensor(rows), 16)]
        self._masks = torch.cat([masks for _, masks in batches]).flatten(1)  # (N, P)
        self._frame = batches[0][1].shape[2:]
        # Bands in front: those of a window lie side by side.
        self._images = torch.cat([images.flatten(2).transpose(0, 1) for images, _ in batches], 1)
        self._images = torch.where(self._masks, self._images, 0.0)  # (n, N, P), float32
        self._means = self._images.sum(2) / self._masks.sum(1).clamp(min=1)  # (n, N)
        self._affine = embedder.normalisation.per_band_affine
        self.quick = is_quick(embedder, len(self._nm))
        if self.quick:
            self._read_whole_spectra()

    def _read_whole_spectra(self) -> None:
        """Project all bands once, and keep what the normalisation needs of them."""
        weight = self.embedder.encoder.projection_weight
        assert weight is not None, "a stem that projects has a weight"
        self._weight = weight.detach().flatten(1).float()
        self._level = torch.zeros_like(self._masks, dtype=torch.float32)
        if self._affine is not None:
            scale, offset = self._affine
            self._offset = (self._weight @ offset)[:, None, None]
            self._weight = self._weight * scale
        else:  # SNV does not see a constant: without each pixel's mean its sums stay small
            self._level = self._images.mean(0)
            self._floor = RELATIVE_ZERO * self._images.abs().amax(0)
            self._images -= self._level
            self._squares = self._images.square().sum(0)
        self._projected = torch.einsum("kn,nip->kip", self._weight, self._images)

    @torch.no_grad()
    def plain(self) -> Tensor:
        """Return the features of the images as they are, float32 ``(N, F)`` on the CPU."""
        return torch.cat([self._features(some) for some in self._chunks()])

    @torch.no_grad()
    def replaced(self, rows: Indices, bands: Indices, values: Tensor) -> Tensor:
        """Return the features of images with a window replaced, float32 ``(B, F)`` on the CPU.

        Args:
            rows: Which of the N images, ``(B,)``.
            bands: Places of the window's bands among those that are read, ``(b,)``.
            values: Their reflectance, broadcastable to ``(B, b, H, W)``; the background keeps none.
        """
        window, found = torch.from_numpy(bands), []
        shape = (len(rows), len(bands), *self._frame)
        values = values.to(self._images.device).expand(shape).flatten(2)
        for some in torch.split(torch.arange(len(rows)), _AT_ONCE):
            hosts = torch.from_numpy(rows)[some]
            new = values[some].transpose(0, 1)
            images = _span(hosts)
            new = new - self._level[images] if self.quick else new
            new = torch.where(self._masks[images], new, 0.0)
            found.append(self._features(hosts, window, new))
        return torch.cat(found)

    def _chunks(self) -> Iterator[Tensor]:
        yield from torch.split(torch.arange(self.num), _AT_ONCE)

    def _features(
        self, hosts: Tensor, bands: Tensor | None = None, new: Tensor | None = None
    ) -> Tensor:
        encoder = self.embedder.encoder
        with eval_mode(encoder, self.embedder.normalisation):
            if self.quick:
                channels = self._channels(hosts, bands, new)
                found = encoder.features(channels.transpose(0, 1).unflatten(2, self._frame))  # type: ignore[no-untyped-call]
            else:
                images = self._images[:, hosts]
                if bands is not None and new is not None:
                    images[bands] = new
                masks = self._masks[hosts].unflatten(1, self._frame)[:, None]  # type: ignore[no-untyped-call]
                images = images.transpose(0, 1).unflatten(2, self._frame)  # type: ignore[no-untyped-call]
                found = self.embedder(images, masks)
        return found.float().cpu()

    def _channels(self, hosts: Tensor, bands: Tensor | None, new: Tensor | None) -> Tensor:
        """Return the projected channels of images, one window replaced, ``(k, B, P)``."""
        images = _span(hosts)
        old = None if bands is None else self._images[_span(bands)][:, images]
        projected, masks = self._projected[:, images], self._masks[images]
        change = None if old is None or new is None else new - old
        if bands is not None and change is not None:
            projected = projected + torch.einsum("kn,nip->kip", self._weight[:, bands], change)
        if self._affine is not None:
            return (projected + self._offset) * masks
        shift = torch.zeros_like(projected[0])
        if change is not None:
            shift = change.sum(0) / len(self._nm)
        squares = self._squares[images]
        if old is not None and new is not None:
            squares = squares + (new.square() - old.square()).sum(0)
        count = len(self._nm)
        spread = ((squares - count * shift.square()).clamp(min=0) / (count - 1)).sqrt()
        usable = masks & (spread > self._floor[images])
        centred = projected - self._weight.sum(1)[:, None, None] * shift
        return torch.where(usable, centred / torch.where(usable, spread, 1.0), 0.0)


def _span(places: Tensor) -> Tensor | slice:
    """Return places that follow each other as a slice, which copies nothing; others as they are."""
    first = int(places[0]) if len(places) else 0
    follows = torch.equal(places, torch.arange(first, first + len(places)))
    return slice(first, first + len(places)) if follows else places


class PartReplacer:
    """Replaces windows of more images than fit into memory at one time, part by part.

    Args:
        embedder: As in :class:`WindowReplacer`, and so ``rows`` and ``wavelengths_nm``.
        rows: All images, ``(N,)``.
        wavelengths_nm: Of the bands.
    """

    def __init__(
        self, embedder: Embedder, rows: Indices, wavelengths_nm: NDArray[np.float64]
    ) -> None:
        self.embedder, self.rows, self._nm = embedder, rows, wavelengths_nm
        each = 4 * len(wavelengths_nm) * embedder.bank.source.size**2
        self._most = max(MOST_BYTES // each, 1)

    def parts(self) -> Iterator[Indices]:
        """Yield places in ``rows``, and read their images."""
        for start in range(0, len(self.rows), self._most):
            places = np.arange(start, min(start + self._most, len(self.rows)))
            self._part = WindowReplacer(self.embedder, self.rows[places], self._nm)
            yield places

    def plain(self) -> Tensor:
        """Return the features of the part's images as they are."""
        return self._part.plain()

    def replaced(self, rows: Indices, bands: Indices, values: Tensor) -> Tensor:
        """Return the features of images of the part with a window replaced."""
        return self._part.replaced(rows, bands, values)


class WindowSwapper(WindowReplacer):
    """Embeds a part's images with a window of bands swapped for that of another image.

    The donor's window is scaled to the host's level at both edges, by the ratios of their mean
    spectra beside the window, linear over nm in between (at an end of the axis, the one ratio there
    is). So no step appears that no specimen has, and what is exchanged is what the window shows
    beyond its surroundings, not how bright a specimen is.
    """

    @torch.no_grad()
    def swapped(self, bands: Indices, donors: Indices) -> Tensor:
        """Return the features of all images with a window swapped, float32 ``(N, F)`` on the CPU.

        Args:
            bands: Places of the window's bands among those that are read.
            donors: For each image the one, among the N, that gives the window, ``(N,)``.
        """
        window, givers = torch.from_numpy(bands), torch.from_numpy(donors)
        return torch.cat(
            [
                self._features(some, window, self._window(some, window, givers[some]))
                for some in self._chunks()
            ]
        )

    def _window(self, hosts: Tensor, bands: Tensor, givers: Tensor) -> Tensor:
        """Return the donors' windows at the hosts' level, ``(b, B, P)``, 0 in the background."""
        given = self._images[_span(bands)][:, givers]
        if self.quick:
            given = given + self._level[givers]
        # Where the donor has background, its own mean stands in: background is no reflectance.
        given = torch.where(self._masks[givers], given, self._means[bands][:, givers, None])
        given = given * self._gains(hosts, bands, givers)[:, :, None]
        if self.quick:
            given = given - self._level[hosts]
        return torch.where(self._masks[_span(hosts)], given, 0.0)

    def _gains(self, hosts: Tensor, bands: Tensor, givers: Tensor) -> Tensor:
        """Return what a donor's window is multiplied by to meet the host's edges, ``(b, B)``."""
        by_nm = torch.argsort(self._nm, stable=True)
        inside = torch.isin(by_nm, bands).nonzero()[:, 0]
        first, last = int(inside[0]), int(inside[-1]) + 1
        ratios, places = [], []
        for side in (by_nm[max(first - _EDGE, 0) : first], by_nm[last : last + _EDGE]):
            if len(side):
                level = self._means[side].mean(0)
                ratio = level[hosts] / level[givers]
                usable = torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)
                ratios.append(usable.clamp(1 / _MOST_GAIN, _MOST_GAIN))
                places.append(float(self._nm[side].mean()))
        if len(ratios) < 2:
            same = ratios[0] if ratios else torch.ones(len(hosts), device=self._means.device)
            return same.expand(len(bands), -1)
        share = (self._nm[bands] - places[0]) / max(places[1] - places[0], 1e-9)
        weight = share.float().to(ratios[0].device)[:, None]
        return (1 - weight) * ratios[0] + weight * ratios[1]
