"""Words of a report for somebody who does not train encoders every day."""

from __future__ import annotations

import re
from html import escape

GLOSSARY: dict[str, str] = {
    "encoder": (
        "The trained network: it turns the image of a specimen into a row of numbers, its "
        "embedding, in which alike specimens should lie close to each other."
    ),
    "k-NN": (
        "k nearest neighbours: a specimen is given the label that most of the k (5) most "
        "similar training specimens have. Nothing is trained for it."
    ),
    "linear probe": (
        "A plain linear classifier, trained on the embeddings of the training part: what can "
        "be read from them by weighing and adding up."
    ),
    "objective": (
        "The score, on the validation part, by which settings are ranked and searches choose. "
        "The test part chooses nothing."
    ),
    "RankMe": "In how many directions embeddings spread. It needs no labels and is no accuracy.",
    "interval": (
        "In brackets, 95%: where the value would lie with other specimens of the same kind, "
        "and, with three seeds or more, other seeds. The fewer specimens, the wider."
    ),
    "seed": (
        "Number that the random start of a training follows from. Equal settings with other "
        "seeds show how much is chance."
    ),
    "rotation": (
        "The same study with other specimens in the test part, until all were tested once."
    ),
    "control": (
        "What the same probes reach without training: an untrained encoder, the mean "
        "spectrum, statistics of the image. Training is worth what it adds to the best of "
        "them."
    ),
    "balanced": (
        "Mean of the shares named rightly of each label, so that a frequent one counts no "
        "more than a rare one."
    ),
    "chance": "What blind guessing reaches.",
    "margin": "Difference of accuracy that does not matter, fixed before the first job.",
    "PLS-DA": (
        "Partial least squares discriminant analysis of mean spectra, the usual chemometric way."
    ),
    "LDA": "Linear discriminant analysis of mean spectra.",
}
_ALSO = {"[95%]": "interval", "intervals": "interval", "controls": "control", "seeds": "seed"}
_ALSO |= {"val/knn_top1": "objective", "encoders": "encoder", "rotations": "rotation"}
_TERM = re.compile(
    r"(?<![\w/-])("
    + "|".join(re.escape(word) for word in sorted([*GLOSSARY, *_ALSO], key=len, reverse=True))
    + r")(?![\w/-])",
    re.IGNORECASE,
)
_PLACE = {name.lower(): name for name in GLOSSARY} | {k.lower(): v for k, v in _ALSO.items()}


def hinted(text: str, seen: set[str] | None = None) -> str:
    """Return a text as HTML, the first of each word of the glossary with what it means.

    Args:
        text: Plain text.
        seen: Words that need no hint any more; those of the text are added.
    """
    known = set() if seen is None else seen
    parts, end = [], 0
    for match in _TERM.finditer(text):
        name = _PLACE[match[1].lower()]
        if name in known:
            continue
        known.add(name)
        meaning = escape(GLOSSARY[name], quote=True)
        parts.append(f'{escape(text[end : match.start()])}<abbr title="{meaning}">')
        parts.append(f"{escape(match[1])}</abbr>")
        end = match.end()
    return "".join(parts) + escape(text[end:])


def glossary_html() -> str:
    """Return all words with their meanings."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in GLOSSARY.items()
    )
    return f"<dl>{rows}</dl>"
