"""What a band strategy or a normalisation may know about the training part: its statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.moments import HISTOGRAM_BINS, HISTOGRAM_RANGE, Moments, count_values
from hyperspec.utils.errors import AxisError, HyperspecError

ClassMoments = Moments

# 256 spectra of 408 bands are 0.4 MB per specimen; a thousand of these still fill 20,000.
SAMPLES_PER_SET = 256
MAX_SAMPLES = 20_000
REFLECTANCE, STORED_VALUE = "reflectance", "stored value"
# 0.02 of reflectance: the blackest of calibrated specimens vary more, by the sensor's noise alone.
_FEWEST_BINS = 4
_RANGE_QUANTILES = (0.001, 0.999)
_ARRAYS = ("mean", "covariance", "minimum", "maximum", "histogram")  # of moments


@dataclass(frozen=True, eq=False)
class SpectralStatistics:
    """Statistics of the spectra of one or many specimens, per class where labels are known.

    Args:
        axis: The bands' axis, C bands.
        moments: Moments and histograms of all spectra.
        classes: The same per class; empty without labels.
        samples: A seeded draw of spectra for the few strategies that need pixels, shape
            ``(S, C)`` float32, S may be 0. A merge joins the draws of its parts, so that each
            specimen weighs about the same however many pixels it has.
        sample_labels: Class of each sample, shape ``(S,)``; "" where unknown.
        num_dropped: Spectra that were left out because a good band was not finite.
    """

    axis: SpectralAxis
    moments: Moments
    classes: Mapping[str, Moments] = field(default_factory=dict)
    samples: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    sample_labels: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))
    num_dropped: int = 0

    def __post_init__(self) -> None:
        if self.samples.size == 0:
            object.__setattr__(self, "samples", np.zeros((0, len(self.axis)), np.float32))

    @classmethod
    def from_spectra(
        cls,
        spectra: NDArray[np.floating],
        axis: SpectralAxis,
        *,
        labels: str | Sequence[str] | None = None,
        invalid: Literal["drop", "raise"] = "drop",
        num_samples: int = SAMPLES_PER_SET,
        seed: int = 0,
        histogram_range: tuple[float, float] = HISTOGRAM_RANGE,
        num_bins: int = HISTOGRAM_BINS,
    ) -> SpectralStatistics:
        """Gather statistics of spectra, all moments in float64.

        Args:
            spectra: Reflectance, shape ``(P, C)``.
            axis: Axis of the C bands.
            labels: One class for all spectra, or one per spectrum; None when unknown.
            invalid: What to do with a spectrum that is not finite in a good band: leave it out
                and count it in ``num_dropped``, or raise. Bad bands are never looked at: values
                there that are not finite count as 0.
            num_samples: Largest number of spectra kept as ``samples``.
            seed: Seed of that draw.
            histogram_range: Ends of the histograms; values outside count in the end bins.
            num_bins: Number of histogram bins.

        Raises:
            HyperspecError: If shapes do not fit or no finite spectrum is left.
        """
        _check_shapes(spectra, axis, labels)
        finite = _finite_rows(spectra, axis)
        if not finite.all() and (invalid == "raise" or not finite.any()):
            raise HyperspecError(_describe_invalid(spectra, axis, finite))
        kept = spectra if finite.all() else spectra[finite]
        if not axis.good.all():
            kept = np.where(axis.good | np.isfinite(kept), kept, 0)
        options = (histogram_range, num_bins)
        chosen = _draw(len(kept), num_samples, seed)
        if labels is None or isinstance(labels, str):  # no copy of the spectra for one class
            parts = {labels or "": Moments.of(kept, *options)}
            drawn = np.full(len(chosen), labels or "")
        else:
            names = np.asarray(labels, np.str_)[finite]
            parts = {str(n): Moments.of(kept[names == n], *options) for n in np.unique(names)}
            drawn = names[chosen]
        return cls(
            axis=axis,
            moments=Moments.merge(list(parts.values())),
            classes={name: part for name, part in parts.items() if name},
            samples=kept[chosen].astype(np.float32),
            sample_labels=drawn,
            num_dropped=int((~finite).sum()),
        )

    @classmethod
    def merge(
        cls, parts: Sequence[SpectralStatistics], max_samples: int = MAX_SAMPLES
    ) -> SpectralStatistics:
        """Merge statistics of disjoint sets of spectra.

        Args:
            parts: At least one set, all on the same axis.
            max_samples: Samples beyond this number are thinned by a seeded draw.

        Raises:
            HyperspecError: If there is nothing to merge.
            AxisError: If two parts have different axes; the message lists the differences.
        """
        moments = Moments.merge([p.moments for p in parts])
        axis = parts[0].axis
        for part in parts:
            if found := "; ".join(axis.differences(part.axis)):
                raise AxisError(f"Statistics of different axes cannot be merged: {found}.")
        names = sorted({name for p in parts for name in p.classes})
        samples = np.concatenate([p.samples for p in parts])
        chosen = _draw(len(samples), max_samples, 0)
        return cls(
            axis=axis,
            moments=moments,
            classes={
                n: Moments.merge([p.classes[n] for p in parts if n in p.classes]) for n in names
            },
            samples=samples[chosen],
            sample_labels=np.concatenate([p.sample_labels for p in parts])[chosen],
            num_dropped=sum(p.num_dropped for p in parts),
        )

    def with_class(self, label: str) -> SpectralStatistics:
        """Return the same statistics with all spectra assigned to one class."""
        labels = np.full(len(self.samples), label)
        return replace(self, classes={label: self.moments}, sample_labels=labels)

    def restrict(self, indices: Sequence[int] | NDArray[np.intp]) -> SpectralStatistics:
        """Return the statistics of the given bands, in the given order."""
        chosen = np.asarray(indices, dtype=np.intp)
        return replace(
            self,
            axis=self.axis.subset(chosen),
            moments=self.moments.restrict(chosen),
            classes={name: m.restrict(chosen) for name, m in self.classes.items()},
            samples=self.samples[:, chosen],
        )

    @property
    def count(self) -> int:
        """Number of spectra."""
        return self.moments.count

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean spectrum, shape ``(C,)``."""
        return self.moments.mean

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance with divisor count - 1, shape ``(C, C)``."""
        return self.moments.covariance

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance per band with divisor count - 1, shape ``(C,)``."""
        return self.moments.variance

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation, shape ``(C, C)``; 0 between a constant band and any other."""
        return self.moments.correlation

    @property
    def minimum(self) -> NDArray[np.float64]:
        """Smallest value per band, shape ``(C,)``."""
        return self.moments.minimum

    @property
    def maximum(self) -> NDArray[np.float64]:
        """Largest value per band, shape ``(C,)``."""
        return self.moments.maximum

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Counts per band and bin, shape ``(C, num_bins)``; each row sums to ``count``."""
        return self.moments.histogram

    @property
    def histogram_range(self) -> tuple[float, float]:
        """Lower and upper end of the histograms, in reflectance."""
        return self.moments.histogram_range

    @cached_property
    def telling_histograms(self) -> dict[str, NDArray[np.int64]]:
        """Histograms whose bins tell the values apart, ``(C, num_bins)`` by class; "" is of all.

        Those of all spectra, over :attr:`histogram_range`, where the values are reflectance. Raw
        counts and radiance lie beyond it, or within a few of its bins: then of the samples, over
        the range of these values, one for all bands.

        Raises:
            HyperspecError: If such statistics have no samples.
        """
        if not self._is_off_the_scale():
            classes = {name: m.histogram for name, m in self.classes.items()}
            return {"": self.histogram, **classes}
        if not len(self.samples):
            low, high = self.histogram_range
            raise HyperspecError(
                f"The spectra's histograms cover {low:g} to {high:g}, but values reach from "
                f"{self.minimum.min():.4g} to {self.maximum.max():.4g}, which their bins cannot "
                "tell apart, and no samples were kept. Calibrate to reflectance "
                "(data.calibrate=auto with a white and a dark frame), or gather statistics with "
                "samples or another histogram_range."
            )
        # Without the ends: one hot pixel would squeeze all others into a few bins.
        low, high = (float(v) for v in np.quantile(self.samples, _RANGE_QUANTILES))
        ends, num_bins = (low, high if high > low else low + 1), self.histogram.shape[1]
        rows = {"": slice(None), **{n: self.sample_labels == n for n in self.classes}}
        return {name: count_values(self.samples[own], ends, num_bins) for name, own in rows.items()}

    @property
    def quantity(self) -> str:
        """What the values are, for the labels of pictures and tables.

        What reads as reflectance: values that were not calibrated, and are not by themselves on
        that scale, are :data:`STORED_VALUE`.
        """
        return STORED_VALUE if self._is_off_the_scale() else REFLECTANCE

    def _is_off_the_scale(self) -> bool:
        """Say whether most values lie in the end bins for being outside, or 99% in a few bins."""
        low, high = self.histogram_range
        below = self.histogram.sum(axis=0).cumsum() / self.histogram.sum()
        if ((below > 0.005) & (below < 0.995)).sum() < _FEWEST_BINS:
            return True
        outside = (self.minimum < low) | (self.maximum > high)
        in_end_bins = self.histogram[:, [0, -1]].sum(axis=1) / self.count
        return float(np.where(outside, in_end_bins, 0.0).mean()) > 0.5

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of every array; the same data merged in the same order agree."""
        digest = hashlib.blake2b(self.axis.hash.encode(), digest_size=8)
        for name, array in sorted(self.to_arrays().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, fit for ``numpy.savez``; no pickled objects."""
        arrays: dict[str, NDArray[Any]] = {
            "wavelengths_nm": self.axis.wavelengths_nm,
            "good": self.axis.good,
            "samples": self.samples,
            "sample_labels": self.sample_labels,
            "num_dropped": np.array(self.num_dropped),
            "histogram_range": np.array(self.histogram_range),
            "class_names": np.array(list(self.classes), np.str_),
        }
        if self.axis.fwhm_nm is not None:
            arrays["fwhm_nm"] = self.axis.fwhm_nm
        sets = {f"class{i}_": moments for i, moments in enumerate(self.classes.values())}
        for prefix, moments in {"": self.moments, **sets}.items():
            arrays[f"{prefix}count"] = np.array(moments.count)
            for name in _ARRAYS:
                arrays[prefix + name] = getattr(moments, name)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SpectralStatistics:
        """Rebuild statistics from :meth:`to_arrays` or from a loaded ``.npz`` file."""
        low, high = (float(v) for v in arrays["histogram_range"])

        def read(prefix: str) -> Moments:
            values = {name: np.asarray(arrays[prefix + name]) for name in _ARRAYS}
            count = int(arrays[f"{prefix}count"])
            return Moments(count=count, histogram_range=(low, high), **values)

        return cls(
            axis=SpectralAxis(
                arrays["wavelengths_nm"],
                arrays["fwhm_nm"] if "fwhm_nm" in arrays else None,  # noqa: SIM401 (npz has no get)
                arrays["good"],
            ),
            moments=read(""),
            classes={str(n): read(f"class{i}_") for i, n in enumerate(arrays["class_names"])},
            samples=np.asarray(arrays["samples"]),
            sample_labels=np.asarray(arrays["sample_labels"]),
            num_dropped=int(arrays["num_dropped"]),
        )


def _draw(count: int, largest: int, seed: int) -> NDArray[np.intp]:
    if count <= largest:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, largest, replace=False))


def _finite_rows(spectra: NDArray[np.floating], axis: SpectralAxis) -> NDArray[np.bool_]:
    # By blocks: a mask of every value would be a quarter of the cube again.
    blocks = [spectra[i : i + 4096] for i in range(0, len(spectra), 4096)]
    return np.concatenate([(np.isfinite(b) | ~axis.good).all(axis=1) for b in blocks])


def _check_shapes(
    spectra: NDArray[np.floating], axis: SpectralAxis, labels: str | Sequence[str] | None
) -> None:
    if spectra.ndim != 2 or spectra.shape[1] != len(axis):
        raise HyperspecError(
            f"spectra has shape {spectra.shape}, but the axis has {len(axis)} bands; give one row "
            f"per pixel and one column per band, (P, {len(axis)})."
        )
    if not len(spectra):
        raise HyperspecError(
            "There is no spectrum to gather statistics from: the foreground mask is empty. Check "
            "the mask, or set data.mask=none."
        )
    if labels is not None and not isinstance(labels, str) and len(labels) != len(spectra):
        raise HyperspecError(f"There are {len(labels)} labels for {len(spectra)} spectra.")


def _describe_invalid(
    spectra: NDArray[np.floating], axis: SpectralAxis, finite: NDArray[np.bool_]
) -> str:
    share = 1 - np.isfinite(spectra[:, axis.good_indices]).mean(axis=0)
    worst = int(share.argmax())
    band = int(axis.good_indices[worst])
    return (
        f"{int((~finite).sum())} of {len(finite)} spectra are not finite in a good band (band "
        f"{band}, {axis.wavelengths_nm[band]:.2f} nm: {share[worst]:.0%} of them). Mask these "
        "pixels, or mark the band bad in the header's bad-band list (bbl)."
    )
