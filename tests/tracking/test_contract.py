"""What goes to MLflow has one name, and what is read back has one reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperspec.tracking import contract
from hyperspec.tracking.null_run import NullRun
from hyperspec.tracking.run import JobRun

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hyperspec"
OUTSIDE = [f for f in sorted(PACKAGE.rglob("*.py")) if "tracking" not in f.parts[:-1]]
MAPPINGS = {"set_tags", "log_params", "log_metrics", "tag", "has"}  # or one name
NAMED_LAST = {"log_text", "log_bytes", "log_figure", "log_artifact"}
LIGHTNING = {"self", "pl_module"}  # whose `log` and `log_dict` reach the run through its logger

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


def named(call: ast.Call) -> list[ast.expr]:
    """What a call of a writer or of the reader names, if it is one."""
    if getattr(call.func, "id", "") == "start_run":
        return [word.value for word in call.keywords if word.arg in ("tags", "params")]
    if not isinstance(call.func, ast.Attribute):
        return []
    name, on = call.func.attr, getattr(call.func.value, "id", "")
    if name in MAPPINGS or (name in ("log", "log_dict") and on in LIGHTNING):
        return call.args[:1]
    if name in NAMED_LAST or (name == "log_dict" and on in ("run", "client")):
        return call.args[-1:]
    return call.args[1:2] if name == "set_tag" else []


def offences(source: str) -> list[str]:
    """Lines of a module that name something themselves, or look into MLflow's own objects."""
    tree = ast.parse(source)
    own, found = texts_of(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for argument in named(node):
                if any(literals(argument)) or getattr(argument, "id", "") in own:
                    found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in ("tags", "params", "metrics")
            and getattr(node.value, "attr", "") == "data"
        ):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_names_come_from_the_contract() -> None:
    found = {str(f.relative_to(PACKAGE)): offences(f.read_text()) for f in OUTSIDE}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ('run.log_text(text, "evaluation/mine.csv")', True),
        ("run.log_text(text, Artifact.CURVE_TABLE)", False),
        ('run.log_metrics({**known, "mine": 1.0}, 3)', True),
        ('run.log_metrics({f"stage/{key}": 1.0 for key in keys})', True),
        ("run.log_metrics({MetricName.STAGE.of(key): 1.0 for key in keys})", False),
        ('MINE = "mine.csv"\nrun.log_text(text, MINE)', True),
        ('client.set_tag(run_id, "mine", "true")', True),
        ('client.set_tag(run_id, Tag.REQUEUED, "true")', False),
        ('client.log_dict(run_id, results, "mine.json")', True),
        ('pl_module.log_dict({"train/mine": value})', True),
        ('strategy = found.data.tags["hyperspec.bands.strategy"]', True),
        ("strategy = found.tag(Tag.STRATEGY)", False),
    ],
)
def test_the_check_sees_what_it_is_for(line: str, caught: bool) -> None:
    assert bool(offences(line)) is caught


def test_no_released_name_was_changed() -> None:
    stored = {str(tag).removeprefix("hyperspec.") for tag in contract.Tag}
    assert set(RELEASED.split()) <= stored


def test_no_two_names_are_the_same() -> None:
    for kind in contract.EVERYTHING:
        assert len(kind) == len(kind.__members__)  # a second member of one value is an alias


def test_the_docs_list_every_name() -> None:
    """``docs/tracking.md`` ends with what ``python tests/tracking/test_contract.py`` prints."""
    assert (ROOT / "docs/tracking.md").read_text().endswith(f"\n{reference()}\n")


def reference() -> str:
    """Return the tables of the docs."""
    parts = []
    for kind in contract.EVERYTHING:
        rows = "\n".join(f"| `{name}` | {name.meaning} |" for name in kind)
        parts.append(
            f"## {kind.__name__}\n\n{kind.__doc__}\n\n| name | meaning |\n|---|---|\n{rows}"
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(reference())


def test_the_run_beside_takes_all_that_a_run_takes() -> None:
    """A process that trains along must open no journal, whatever code logs."""
    written = {name for name in vars(JobRun) if name.startswith(("log_", "set_"))}
    assert written | {"copy_from", "secure", "flush", "finish", "fail"} <= vars(NullRun).keys()
