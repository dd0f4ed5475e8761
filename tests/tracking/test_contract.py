"""What goes to MLflow has one name, and what is read back has one reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperspec.tracking import contract

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hyperspec"
KINDS = {kind.__name__ for kind in contract.EVERYTHING}
# Writers, and the position of what they name: an artifact, a folder, a tag. None: a mapping's keys.
WRITERS: dict[str, int | None] = {
    "set_tags": None,
    "log_params": None,
    "log_metrics": None,
    "log_text": 1,
    "log_figure": 1,
    "log_artifact": 1,
    "set_tag": 1,
}
# Lightning's, and MLflow's `log_dict(run_id, value, name)`: first a mapping or a name, then more.
LOGGED = {"log", "log_dict"}
OBJECTS = {"run", "client", "logger", "self", "pl_module", "connection", "tag"}
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent.parts[-1] != "tracking"]
FILES = [file for file in FILES if "tracking" not in file.relative_to(PACKAGE).parts]

# Names that stores of 0.1.0 hold: a search or a report of today must find them.
RELEASED = """
bands.hash bands.n bands.strategy bands.wavelengths_nm claim claim.beat claim.ticket collapse
command continued_from data.hash data.num_classes failure.reason git.dirty host identity kind
objectives oom.micro_batch outbox overrides params.changed process pruned requeued resumed_from
search.trial seconds split.hash study
"""


def literals(node: ast.AST | None) -> Iterator[ast.AST]:
    """Texts that stand in the code itself, not in the contract."""
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    ):
        yield node
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            yield from literals(key)
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **{...}
                yield from literals(value)
    elif isinstance(node, ast.DictComp):
        yield from literals(node.key)
    elif isinstance(node, ast.IfExp):
        yield from (*literals(node.body), *literals(node.orelse))


def texts_of(tree: ast.Module) -> set[str]:
    """Names that a module gives to texts of its own at its top."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and any(literals(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def offences(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    own, found = texts_of(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, on = node.func.attr, node.func.value
            if name in WRITERS:
                place = WRITERS[name]
                # A client's methods take the run first: each argument may be the name.
                named = node.args if place is None else node.args[place:]
            elif name in LOGGED and getattr(on, "id", "") in OBJECTS:
                named = node.args
            else:
                continue
            bad = [
                ast.unparse(part)
                for argument in named[: None if name == "log_dict" else 2]
                for part in (
                    *literals(argument),
                    *([argument] if isinstance(argument, ast.Name) and argument.id in own else []),
                )
                if not (name in ("set_tag",) and argument is named[-1])
            ]
            found += [f"{file.relative_to(PACKAGE)}:{node.lineno} {name}({part})" for part in bad]
        elif isinstance(node, ast.Attribute) and node.attr in ("tags", "params", "metrics"):
            if isinstance(node.value, ast.Attribute) and node.value.attr == "data":
                found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
        elif isinstance(node, ast.Attribute) and node.attr in ("run_name", "artifact_uri"):
            if isinstance(node.value, ast.Attribute) and node.value.attr == "info":
                found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_names_come_from_the_contract(file: Path) -> None:
    assert offences(file) == []


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ('run.log_text(text, "evaluation/mine.csv")', True),
        ("run.log_text(text, Artifact.CURVE_TABLE)", False),
        ('run.log_metrics({**known, "mine": 1.0}, 3)', True),
        ('run.log_metrics({f"stage/{key}": 1.0 for key in keys})', True),
        ("run.log_metrics({Metric.STAGE.of(key): 1.0 for key in keys})", False),
        ('MINE = "mine.csv"\nrun.log_text(text, MINE)', True),
        ('client.set_tag(run_id, "mine", "true")', True),
        ('client.set_tag(run_id, Tag.REQUEUED, "true")', False),
        ('client.log_dict(run_id, results, "mine.json")', True),
        ('pl_module.log_dict({"train/mine": value})', True),
        ('strategy = found.data.tags["hyperspec.bands.strategy"]', True),
        ("strategy = found.tag(Tag.STRATEGY)", False),
    ],
)
def test_the_check_sees_what_it_is_for(tmp_path: Path, line: str, caught: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(line)
    assert bool(offences(file)) is caught


def test_no_released_name_was_changed() -> None:
    stored = {str(tag).removeprefix("hyperspec.") for tag in contract.Tag}
    assert set(RELEASED.split()) <= stored


def test_no_two_names_are_the_same() -> None:
    for kind in contract.EVERYTHING:
        assert len(kind) == len(kind.__members__)  # an alias is a second member of one value


def table(kind: type[contract.Name]) -> str:
    rows = [f"| `{name}` | {name.meaning} |" for name in kind]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def test_the_docs_list_every_name() -> None:
    """``docs/tracking.md`` holds what this prints: ``python tests/tracking/test_contract.py``."""
    assert reference() in (ROOT / "docs/tracking.md").read_text()


def reference() -> str:
    """Return the tables of the docs."""
    parts = []
    for kind in contract.EVERYTHING:
        title = (kind.__doc__ or "").partition(":")[0].partition(";")[0].rstrip(".")
        parts.append(f"## {kind.__name__}\n\n{(kind.__doc__ or title).strip()}\n\n{table(kind)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(reference())
