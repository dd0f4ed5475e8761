"""Growing a trained encoder from m bands to n: the stem is rebuilt, everything else is taken over.

The rule of the field interpolates the stem's weights over nm and scales them by m/n. It keeps the
response where the old bands sample the spectrum densely and misses it elsewhere: between old bands
the spectrum has structure that the old stem never saw, and the interpolated stem now reads it. So
the interpolated weights are only where :func:`response_map` starts from: it then moves them as
little as the training spectra allow, so that on these the grown stem answers as the old one did.
docs/growth.md has the figures for both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hyperspec.models.encoder import Encoder
from hyperspec.models.stems.projection import Projection
from hyperspec.models.stems.wavelength import GAIN, BandAttention, WavelengthProjection
from hyperspec.utils.errors import ModelError

NUM_LISTED = 5  # differing keys that an error shows
# Relative to the mean second moment of a band. In half a decade around it the figures of
# docs/growth.md do not move; far below, single noisy bands take over, far above, plain
# interpolation is left.
RIDGE = 1e-3


def interpolation_map(old_nm: ArrayLike, new_nm: ArrayLike) -> NDArray[np.float64]:
    """Return how old stem weights enter new ones by interpolation over nm, scaled by m/n.

    From the centres of m old and n new bands in nanometres, in any order: shape ``(m, n)``,
    new weights are old weights times it. Outside of the old bands' range the end weights hold.
    """
    old, new = np.asarray(old_nm, np.float64), np.asarray(new_nm, np.float64)
    order = np.argsort(old, kind="stable")
    shares = np.empty((old.size, new.size))
    for rank, band in enumerate(order):
        shares[band] = np.interp(new, old[order], np.eye(old.size)[rank])
    return np.asarray(shares * (old.size / new.size))


def response_map(
    old_nm: ArrayLike,
    new_nm: ArrayLike,
    old_spectra: ArrayLike,
    new_spectra: ArrayLike,
    ridge: float = RIDGE,
) -> NDArray[np.float64]:
    """Return how old stem weights enter new ones so that the stem's responses are kept.

    Column by column it predicts the old channels from the new ones: the T that minimises
    ``mean |z_old - T z_new|² + λ |T - I|²`` over training spectra, I the interpolation and λ the
    ridge times the mean square of a channel. A linear stem with weights ``W T`` then answers to
    ``z_new`` as ``W`` did to ``z_old``.

    Args:
        old_nm: Centres of the m old bands, nanometres.
        new_nm: Centres of the n new bands, nanometres.
        old_spectra: Training spectra in the old bands as the encoder got them (normalised), shape
            ``(S, m)``.
        new_spectra: The same spectra in the new bands as it will get them, shape ``(S, n)``.
        ridge: Above 0.

    Returns:
        Shape ``(m, n)``.
    """
    start = interpolation_map(old_nm, new_nm)
    old, new = np.asarray(old_spectra, np.float64), np.asarray(new_spectra, np.float64)
    if not len(old):
        return start
    moments = new.T @ new / len(new)
    level = np.trace(moments) / len(moments)
    if level == 0:  # channels that are constant over the training part: nothing to keep
        return start
    missed = old.T @ new / len(new) - start @ moments
    return np.asarray(
        start + np.linalg.solve(moments + ridge * level * np.eye(len(moments)), missed.T).T
    )


@torch.no_grad()
def grow_weights(
    trained: Encoder,
    fresh: Encoder,
    old_nm: ArrayLike,
    new_nm: ArrayLike,
    band_map: NDArray[np.float64],
    new_spectra: ArrayLike | None = None,
) -> frozenset[str]:
    """Give an encoder of n bands the weights of one that was trained on m.

    Args:
        trained: The encoder of m bands.
        fresh: Encoder of the same model for n bands; changed in place.
        old_nm: Centres of the m bands in channel order, nanometres.
        new_nm: Centres of the n bands in channel order, nanometres.
        band_map: From :func:`response_map` or :func:`interpolation_map`, shape ``(m, n)``.
        new_spectra: Training spectra in the new bands, ``(S, n)``, as for :func:`response_map`.
            With them the ``wavelength`` stem's generator is fitted to what the map asks for;
            without them it stays as it is, since it gives weights for any band by itself.

    Returns:
        Names of the parameters that were rebuilt; an optimizer's state of these has no meaning.

    Raises:
        ModelError: If the encoders differ in more than their bands.
    """
    before = _on_cpu(trained)
    mapped = torch.as_tensor(band_map, dtype=torch.float64)
    rebuilt = _rebuilt(trained, fresh, np.asarray(old_nm), np.asarray(new_nm), mapped, new_spectra)
    weights = {**before, **rebuilt}
    _check_fit(weights, fresh)
    fresh.load_state_dict(weights)
    return frozenset(rebuilt)


def _rebuilt(
    trained: Encoder,
    fresh: Encoder,
    old_nm: NDArray[np.float64],
    new_nm: NDArray[np.float64],
    mapped: Tensor,
    new_spectra: ArrayLike | None,
) -> dict[str, Tensor]:
    """Return the stem's tensors for the new bands."""
    before, stem = _on_cpu(trained), fresh.projection
    if isinstance(stem, WavelengthProjection):
        if not isinstance(trained.projection, WavelengthProjection):
            raise ModelError(
                "The trained encoder has no stem=wavelength: its weights belong to its own bands. "
                "Give the model and stem of the checkpoint."
            )
        return _generator(trained.projection, stem, mapped, new_spectra)
    if isinstance(stem, Projection):
        return {"projection.weight": _mixed(before, "projection.weight", mapped)}
    name, first = next(iter(fresh.backbone.stages.named_children()))
    prefix = f"backbone.stages.{name}."
    if isinstance(first, BandAttention):
        return _attention(before, prefix, first, mapped, interpolation_map(old_nm, new_nm))
    inner = next(key for key, m in first.named_modules() if isinstance(m, nn.Conv2d))
    key = f"{prefix}{inner}.weight".replace("..", ".")
    return {key: _mixed(before, key, mapped)}


def _on_cpu(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state where float64 can be computed in: not on a Mac's GPU."""
    return {name: value.cpu() for name, value in module.state_dict().items()}


def _mixed(before: Mapping[str, Tensor], key: str, mapped: Tensor) -> Tensor:
    """Return a weight ``(out, m, ...)`` for n channels, tap by tap of a kernel."""
    if key not in before or before[key].shape[1] != len(mapped):
        found = tuple(before[key].shape) if key in before else "none"
        raise ModelError(
            f"The trained encoder's stem has no weight '{key}' for {len(mapped)} bands (found: "
            f"{found}): it was trained with another model or stem. Give the model and stem of the "
            "checkpoint."
        )
    old = before[key]
    return torch.einsum("om...,mn->on...", old.double(), mapped).to(old.dtype)


def _attention(
    before: Mapping[str, Tensor],
    prefix: str,
    fresh: BandAttention,
    mapped: Tensor,
    plain: NDArray[np.float64],
) -> dict[str, Tensor]:
    """Return the tensors of a :class:`BandAttention` for n bands.

    The squeeze reads the same mixtures of bands as before; a band's excitation is interpolated
    over nm (it is that band's own, so it is not scaled). Further hidden units, of which there are
    more at more bands, start with no effect.
    """
    squeeze = _mixed(before, f"{prefix}squeeze.weight", mapped)
    old_hidden, hidden = len(squeeze), fresh.squeeze.out_features
    kept = min(old_hidden, hidden)
    excite, bias = before[f"{prefix}excite.weight"], before[f"{prefix}excite.bias"]
    # Where there is room for fewer hidden units, those with the largest effect stay.
    effect = excite.norm(dim=0) * squeeze.norm(dim=1)
    chosen = effect.argsort(descending=True, stable=True)[:kept].sort().values
    rows = torch.as_tensor(plain, dtype=torch.float64).T
    rows = rows / rows.sum(dim=1, keepdim=True)
    grown = {
        f"{prefix}squeeze.weight": fresh.squeeze.weight.detach().cpu().clone(),
        f"{prefix}squeeze.bias": fresh.squeeze.bias.detach().cpu().clone(),
        f"{prefix}excite.weight": torch.zeros_like(fresh.excite.weight, device="cpu"),
        f"{prefix}excite.bias": (rows @ bias.double()).to(bias.dtype),
        f"{prefix}projection.weight": _mixed(before, f"{prefix}projection.weight", mapped),
    }
    grown[f"{prefix}squeeze.weight"][:kept] = squeeze[chosen]
    grown[f"{prefix}squeeze.bias"][:kept] = before[f"{prefix}squeeze.bias"][chosen]
    grown[f"{prefix}excite.weight"][:, :kept] = (rows @ excite[:, chosen].double()).to(excite.dtype)
    return grown


def _generator(
    trained: WavelengthProjection,
    fresh: WavelengthProjection,
    mapped: Tensor,
    new_spectra: ArrayLike | None,
) -> dict[str, Tensor]:
    """Return generator parameters whose weights for the new bands answer as the old ones did.

    A generated weight is linear in the parameters, so the least squares of :func:`response_map`
    holds for them too: the change of the parameters that makes the stem's response on the training
    spectra that of the map, shrunk towards no change.
    """
    generate = _on_cpu(trained.generate)
    weight, bias = generate["weight"], generate["bias"]
    if new_spectra is None or not len(np.asarray(new_spectra)):
        return {}
    spectra = torch.as_tensor(np.asarray(new_spectra), dtype=torch.float64)
    old = torch.cat([weight, bias[:, None]], dim=1).double()
    wanted = trained.weight.detach().cpu().double() @ mapped
    features = fresh.features.cpu().to(mapped)
    basis = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    read = spectra @ basis * (GAIN / fresh.num_bands)  # of each parameter, (S, parameters)
    moments = read.T @ read / len(read)
    missed = (spectra @ wanted.T - read @ old.T).T @ read / len(read)
    level = moments.diagonal().mean()
    eye = torch.eye(len(moments), dtype=moments.dtype)
    new = old + torch.linalg.solve(moments + RIDGE * level * eye, missed.T).T
    return {
        "projection.generate.weight": new[:, :-1].to(weight.dtype),
        "projection.generate.bias": new[:, -1].to(bias.dtype),
    }


def _check_fit(weights: Mapping[str, Tensor], fresh: Encoder) -> None:
    """Refuse weights that do not fit; the message lists the first differences."""
    expected = fresh.state_dict()
    found = [f"{key} is missing" for key in expected if key not in weights]
    found += [f"{key} is unknown here" for key in weights if key not in expected]
    found += [
        f"{key} has shape {tuple(weights[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if found:
        more = f" and {len(found) - NUM_LISTED} more" if len(found) > NUM_LISTED else ""
        raise ModelError(
            f"The trained encoder is not of this model: {'; '.join(found[:NUM_LISTED])}{more}. "
            "Only the bands may differ: give the model, head and stem of the checkpoint."
        )
