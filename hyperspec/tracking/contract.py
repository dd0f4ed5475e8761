"""Every name that a run has in MLflow: tags, parameters, metrics, artifacts and their folders.

What writes a run and what reads it meet here and nowhere else. A name is stored for good: stores of
earlier versions are read by it, so that one that was released is never changed, only left unused.
``docs/tracking.md`` lists them all, and a test compares it with this file.
"""

from __future__ import annotations

import enum
from typing import Self

LOCAL = "local-"  # beginning of the identity that a run has before a server gives it one
PARAM_LIMIT = 6000  # characters that MLflow keeps of one parameter's value
TAG_LIMIT = 5000  # characters of a tag's value, below MLflow's limit of 8000


class Name(enum.StrEnum):
    """A stored name with what it means."""

    meaning: str

    def __new__(cls, stored: str, meaning: str) -> Self:
        """Make a text that carries its meaning."""
        made = str.__new__(cls, stored)
        made._value_ = stored
        made.meaning = meaning
        return made

    def of(self, rest: object) -> str:
        """Return a name that begins with this one, such as ``stage/bands`` of ``stage/``."""
        return f"{self}{rest}"


class Tag(Name):
    """Tags: what a run is found by, and what became of it."""

    KIND = "hyperspec.kind", "`sweep` on parents, `job` on the rest"
    STUDY = "hyperspec.study", "study that the run belongs to"
    COMMAND = "hyperspec.command", "command that starts the sweep again"
    OVERRIDES = "hyperspec.overrides", "overrides of a job, as typed"
    JOB = "hyperspec.job", "folder of a job below its sweep's; equal in all starts of the job"
    STRATEGY = "hyperspec.bands.strategy", "what chose the bands"
    NUM_BANDS = "hyperspec.bands.n", "number of chosen bands"
    BANDS_HASH = "hyperspec.bands.hash", "hash of the chosen bands"
    # A tag: the compare page of MLflow draws each parameter that differs, readable or not.
    WAVELENGTHS = "hyperspec.bands.wavelengths_nm", "wavelengths of the chosen bands, nm"
    SPLIT_HASH = "hyperspec.split.hash", "hash of what lies in which part"
    DATA_HASH = "hyperspec.data.hash", "hash of specimens, labels and preparation"
    NUM_CLASSES = "hyperspec.data.num_classes", "number of labels"
    IDENTITY = "hyperspec.identity", "identity of the job; equal means the same result"
    SETTINGS = "hyperspec.identity.settings", "the same without what computes the job"
    RESULTS = "hyperspec.results", "versions of the parts that computed it"
    CONTENTS = "hyperspec.identity.contents", "hashes of the files and plug-ins that it counts"
    REASON = "hyperspec.failure.reason", "why it did not end well, one line"
    RESUMED = "hyperspec.resumed_from", "run whose result was taken instead of training"
    CONTINUED = "hyperspec.continued_from", "interrupted run whose checkpoint it went on from"
    REQUEUED = "hyperspec.requeued", "its process was killed; another run goes on with the job"
    SECONDS = "hyperspec.seconds", "how long the run whose result was taken had lasted"
    PRUNED = "hyperspec.pruned", "epoch at which a search stopped the job"
    TRIAL = "hyperspec.search.trial", "number of the search's trial that the job is part of"
    OBJECTIVES = "hyperspec.objectives", "names of several objectives, comma between them"
    MICRO_BATCH = "hyperspec.oom.micro_batch", "micro-batch of the second try after out-of-memory"
    COLLAPSE = "hyperspec.collapse", "step at which the embeddings had collapsed"
    PARAMS_CHANGED = "hyperspec.params.changed", "parameters that changed after the start (JSON)"
    LOCAL_ID = "hyperspec.outbox", "identity of the run's journal, older than the server's"
    HOST = "hyperspec.host", "machine"
    PROCESS = "hyperspec.process", "process, so that a dead one is known"
    CLAIM = "hyperspec.claim", "identity that the run contends for; empty when it no longer does"
    TICKET = "hyperspec.claim.ticket", "its number, 0 while it is being chosen"
    BEAT = "hyperspec.claim.beat", "counts up as long as its process lives"
    DIRTY = "hyperspec.git.dirty", "whether the checkout had changes"
    COMMIT = "mlflow.source.git.commit", "commit of the checkout"
    PARENT = "mlflow.parentRunId", "run of the sweep"
    NAME = "mlflow.runName", "readable name"
    NOTE = "mlflow.note.content", "description of a sweep (Markdown)"
    USER = "mlflow.user", "who started it"
    SOURCE_NAME = "mlflow.source.name", "`hyperspec`"
    SOURCE_TYPE = "mlflow.source.type", "`LOCAL`"
    DATA_CONTEXT = "mlflow.data.context", "of a dataset: training, validation, test, held_out"
    EXPERIMENT_KIND = "mlflow.experimentKind", "of an experiment: opens the UI on training runs"

    VIEW = "mlflow.sharedViewState.hyperspec", "of an experiment: table and charts of its UI"

    def equals(self, value: str) -> str:
        """Return the condition of a search that the tag has a value."""
        return f"tags.`{self}` = '{value}'"


class Param(Name):
    """Parameters beside the resolved config, whose dotted keys are parameters too."""

    NUM_BANDS = "bands.count", "bands that the encoder sees"
    NUM_CUBES = "data.num_cubes", "images"
    NUM_SPECIMENS = "data.num_specimens", "specimens"
    NUM_FEATURES = "model.num_features", "numbers of an embedding"
    # A parameter: nobody can change it afterwards, as one can a tag.
    MARGIN = "sweep.margin", "of a sweep: margin of its equivalence tests"
    RACE = "race.first", "of a race: trainings of each setting before the look"
    SPACE = "space.", "of a sweep: what it varies, `space.<key>`"


class MetricName(Name):
    """Metrics of training, memory and cost; those of evaluation have a table of their own."""

    OBJECTIVE = "objective", "what the job optimises, the first of several"
    EFFECTIVE_RANK = "train/effective_rank", "of a batch's embeddings"
    FEATURE_SPREAD = "train/feature_spread", "of a batch's features, relative to their mean"
    GRAD_NORM = "train/grad_norm", "norm of the whole gradient"
    PAIRED_CELLS = "train/paired_cells", "pairs of cells of the dense loss"
    CACHED_ERROR = "train/cached_gradient_error", "of micro-batches against the whole batch"
    TRAIN_LOSS = "train/loss", "loss of a batch; with `_global`, `_local`, `_cross` its terms"
    TRAIN_SECONDS = "cost/train_seconds", "time of the training, search included"
    SAMPLES_PER_SECOND = "cost/samples_per_second", "specimen images per second"
    PEAK_MEMORY = "cost/peak_memory_mb", "most memory of the training, MB"
    PLANNED_MEMORY = "plan/peak_memory_mb", "forecast of the most memory, MB"
    PLANNED_WORK = "plan/gflop_per_step", "forecast of a step's arithmetic"
    SEARCH_LOSS = "search/loss", "loss of a batch while bands are searched"
    SEARCH_SECONDS = "search/train_seconds", "time of the search for bands"
    SEARCH_TEMPERATURE = "search/temperature", "of the selectors"
    SEARCH_ENTROPY = "search/entropy", "of the selectors"
    SEARCH_PROBABILITY = "search/largest_probability", "mean over the selectors"
    SEARCH_DUPLICATES = "search/duplicates", "selectors that want another's band"
    GROWTH_FROM = "growth/from_bands", "bands before an encoder was grown"
    GROWTH_TO = "growth/to_bands", "bands after it"
    GROWTH_COSINE = "growth/cosine", "of embeddings before and after, median"
    GROWTH_CENTRED = "growth/centred_cosine", "the same without their mean"
    GROWTH_HEAD = "growth/head_cosine", "the same after the head"
    GRAD_NORM_OF = "grad_norm/", "norm of one stage's gradient, `grad_norm/<stage>`"
    BEST = "best/", "best score of the training, `best/val_<measure>`"
    SEARCH = "search/", "scores of soft and hard selectors and their gap, `search/gap_<measure>`"
    STAGE = "stage/", "a row of `evaluation/stages.csv`, `stage/<column>`"
    CURVE = "curve/", "one encoder on n bands, at step n, `curve/<strategy>_<measure>`"
    CONFOUNDER = "confounder/", "a probe's accuracy and chance, `confounder/<column>_knn_top1`"
    RANDOM_SPLIT = "random_split/", "a probe's score where images are split at random"
    INFLATION = "inflation/", "how far that lies above the split's own score"
    SYSTEM = "system/", "how busy the machine was; MLflow's UI has a page for them"


class Artifact(Name):
    """Artifacts, by their path in the run."""

    CONFIG = "config.yaml", "the resolved config"
    BANDS = "bands.json", "the chosen bands"
    STAGES = "stages.json", "bands of each stage of a schedule"
    BANDS_PICTURE = "pictures/bands.png", "spectra with the chosen bands"
    RESPONSES_PICTURE = "pictures/responses.png", "weights of a projection"
    SEARCH_PICTURE = "pictures/search.png", "bands that the search wanted, by epoch"
    CURVE_PICTURE = "pictures/curve.png", "accuracy of one encoder by number of bands"
    ATTENTION_PICTURE = "pictures/attention.png", "weight of each band"
    PREDICTIONS = "evaluation/test_predictions.csv", "what the probes said of each test row"
    CONTROLS = "evaluation/control_predictions.csv", "the same of the controls"
    CONFOUNDERS = "evaluation/confounders.csv", "how well the features tell each confounder"
    SEARCH_TABLE = "evaluation/search.csv", "bands that the search wanted, by epoch"
    STAGES_TABLE = "evaluation/stages.csv", "scores of each stage of a schedule"
    CURVE_TABLE = "evaluation/curve.csv", "scores of one encoder by number of bands"
    CURVE_PREDICTIONS = "evaluation/curve_predictions.csv", "what was said of each test row there"
    ATTENTION_TABLE = "evaluation/attention.csv", "weight of each band"
    SWAPS = "importance/swaps.csv", "what each window of wavelengths tells, by test image"
    SPECTRA = "importance/spectra.csv", "mean spectra of the training part, by label"
    TRACEBACK = "error/traceback.txt", "of a run that failed"
    CHECKPOINT = "checkpoints/last.ckpt", "the trained encoder, with its checksum"
    SEARCH_RESULTS = "search/results.json", "best trial or Pareto front"
    SEARCH_TRIALS = "search/trials.csv", "all trials"


class Folder(Name):
    """Folders of artifacts whose files have names of their own."""

    CHECKPOINTS = "checkpoints", "checkpoints and their checksums"
    IMPORTANCE = "importance", "table and picture of the bands' importance"
    REPORT = "report", "of a sweep: the report and its files"
    EXPLORER = "explorer", "page of `hyperspec explore --run`"
    PARAMS = "params", "whole values of parameters that are too long"


EVERYTHING: tuple[type[Name], ...] = (Tag, Param, MetricName, Artifact, Folder)
