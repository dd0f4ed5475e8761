"""What each option means: the text below its field, or the class's ``Args:``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from functools import cache

_ARGUMENT = re.compile(r"^ {8}(\w+): (.*(?:\n {9,}\S.*)*)", re.MULTILINE)


@cache
def field_docs(node: type) -> dict[str, str]:
    """Return the meaning of a dataclass's fields in one line each; fields without are left out.

    Those of the classes that it is made from count too, its own first.
    """
    found: dict[str, str] = {}
    for kind in reversed(node.__mro__):
        if dataclasses.is_dataclass(kind):
            found |= _own_docs(kind)
    return {
        field.name: found[field.name] for field in dataclasses.fields(node) if field.name in found
    }


def _own_docs(kind: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # made in a session, without a file
        return {}
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    own = ast.get_docstring(definition, clean=False) or ""
    found |= {name: _line(text) for name, text in _ARGUMENT.findall(textwrap.indent(own, "    "))}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = _line(str(below.value.value))
    return found


def _line(text: str) -> str:
    return " ".join(text.split())
