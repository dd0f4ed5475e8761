"""Contents of files as damage and strangers leave them, drawn by Hypothesis."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

_PIECES = [
    b"{", b"}", b"[", b"]", b"=", b"\r", b"\n", b";", b",", b":", b'"', b"\x00", b"\xb5", b"\xff",
    b"-1", b"0", b"1e999", b"nan", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b"../", b"/",
    b"99999999999999999999", b"=1+1",
]  # fmt: skip


# None of each kind fits all places; what fits one is in no right range.
ODD: list[Any] = [
    *(None, "x", "", -1, 0, 10**12, 1.5, float("nan"), 1e308, True, [], {}, [None], {"a": 1}),
    *("../x", "/tmp/x", "\u00e9" * 300, "\ud800", "\x00", [[1, 2]], {"a": {"b": None}}),
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of a tree of dicts and lists, to itself first."""
    yield path
    if isinstance(tree, dict | list):
        for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(inner, (*path, key))


def edited(tree: Any, path: Sequence[Any], value: Any) -> Any:
    """Return a copy with another value at a place."""
    if not path:
        return copy.deepcopy(value)
    made = copy.deepcopy(tree)
    node: Any = made
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = copy.deepcopy(value)
    return made


def edited_json(content: bytes) -> st.SearchStrategy[bytes]:
    """Return JSON, or lines of it, with up to two values replaced by odd ones."""
    lines = [json.loads(line) for line in content.splitlines()]

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        made = list(lines)
        for _ in range(draw(st.integers(1, 2))):
            at = draw(st.integers(0, len(made) - 1))
            path = draw(st.sampled_from(list(places(made[at]))))
            made[at] = edited(made[at], path, draw(st.sampled_from(ODD)))
        return "\n".join(json.dumps(line) for line in made).encode() + b"\n"

    return change()


def mutated(seeds: Sequence[bytes], pieces: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Return one of a few contents with up to six places overwritten, left out or repeated."""
    known = [*_PIECES, *pieces]

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(content)))
            stop = min(len(content), at + draw(st.integers(0, 40)))
            repeated = st.just(bytes(content[at:stop]) * 2)
            content[at:stop] = draw(
                st.one_of(st.sampled_from(known), st.binary(max_size=12), repeated)
            )
        return bytes(content)

    return change()


def mutated_files(
    seeds: Mapping[str, bytes], pieces: Sequence[bytes] = ()
) -> st.SearchStrategy[tuple[str, bytes]]:
    """Return the name of one of a few files with its content mutated; of JSON also its values."""

    def change(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        ways = [mutated([seeds[name]], pieces)]
        if "json" in name:
            ways.append(edited_json(seeds[name]))
        return st.tuples(st.just(name), st.one_of(ways))

    return st.sampled_from(sorted(seeds)).flatmap(change)
