"""The version of the results: one whole number for each part that computes.

A finished job is taken over by a later sweep as long as the parts that it used have the same
versions. So a version is raised when, and only when, the part's numbers change: a docstring, a
moved file or a faster way to equal numbers raises nothing and retrains nothing.

The numbers themselves are kept in ``tests/golden/golden.json``. When one moves, the test names
the part and asks to raise it here. The message's command writes the new ones and the hash below.
"""

from __future__ import annotations

from collections.abc import Mapping

RESULTS: Mapping[str, int] = {
    # From files to specimens, parts and statistics
    "preparation.folder": 1,  # calibration, foreground, crop, resizing
    "preparation.tiles": 1,
    "splits": 1,
    "splits.rotation": 1,  # parts that take turns
    "splits.groups": 1,  # whole sessions and the like on one side
    "statistics": 1,
    # Normalisations
    "normalisation.none": 1,
    "normalisation.minmax": 1,
    "normalisation.zscore": 1,
    "normalisation.snv": 1,
    "normalisation.l2": 1,
    "normalisation.derivative": 1,
    "normalisation.continuum": 1,
    # Strategies that choose bands
    "bands.full": 1,
    "bands.list": 1,
    "bands.rgb": 1,
    "bands.uniform": 1,
    "bands.regions": 1,
    "bands.random": 1,
    "bands.variance": 1,
    "bands.entropy": 2,  # 2: raw counts and radiance are binned in their own range
    "bands.pca": 1,
    "bands.correlation": 1,
    "bands.e_fdpc": 1,
    "bands.ocf": 2,  # 2: raw counts and radiance are binned in their own range
    "bands.fngbs": 2,  # 2: raw counts and radiance are binned in their own range
    "bands.issc": 1,
    "bands.opbs": 1,
    "bands.lcmv_bcc": 1,
    "bands.spa": 1,
    "bands.mutual_information": 2,  # 2: raw counts and radiance are binned in their own range
    "bands.fisher": 1,
    "bands.mrmr": 2,  # 2: raw counts and radiance are binned in their own range
    "bands.vip": 1,
    "bands.cars": 1,
    "bands.ipls": 1,
    "bands.binned": 1,
    "bands.pca_projection": 1,
    "bands.nmf_projection": 1,
    "bands.receptors": 1,
    "bands.filters": 1,  # with the noise of its photons
    "bands.learned": 1,  # the search while training
    # Views
    "views.spatial": 1,  # what is drawn, and the warp
    "views.spectral": 1,
    "views.noise": 1,
    "views.cross_modal": 1,  # windows of wavelengths, their encoders and loss
    # Encoders
    "stems.projection": 1,
    "stems.inflate": 1,
    "stems.wavelength": 1,
    "stems.attention": 1,
    "backbones.tiny": 1,
    "backbones.resnet": 1,
    "backbones.convnext": 1,
    "backbones.vit": 1,
    "head": 1,
    # Losses
    "losses.nt_xent": 1,
    "losses.dcl": 1,
    "losses.supcon": 1,
    "losses.vicreg": 1,
    "losses.combined": 1,
    # Training
    "training": 1,  # order of batches, step, optimizer, learning rate
    "training.micro_batch": 1,
    "training.schedule": 1,  # nested stages
    "training.growth": 1,  # weights taken over to other bands
    "training.band_sampling": 1,
    # Scores
    "evaluation.probes": 1,
    "evaluation.retrieval": 1,
    "evaluation.shape": 1,  # effective rank
    "evaluation.clusters": 1,
    "evaluation.alignment": 1,
    "evaluation.intervals": 2,  # 2: components of variance instead of a bootstrap
    "evaluation.controls": 2,  # 2: more controls, and their scores on validation
    "evaluation.confounders": 1,  # probes of the columns that a config names
    "evaluation.importance": 1,
    "evaluation.curve": 1,
}

# Hash of the source with which the golden numbers were written. Source that differs from it may
# compute something else, so that it counts in a job's identity: see `utils/source_tree.py`.
SOURCE_TREE = "eedb24f0120a519a"
# Of its bytes: where these agree, that need not be computed, which takes most of a second.
SOURCE_FILES = "58e701850ed88283"
