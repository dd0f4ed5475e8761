from __future__ import annotations

import pytest

from hyperspec.utils.file_names import as_file_name, distinct, why_refused


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("species", "species"),
        ("genus/species: old?", "genus_species_ old_"),
        ('a\\b|c*d<e>"f"', "a_b_c_d_e__f_"),
        ("line\nbreak\0", "line_break_"),
        ("sp. ", "sp__"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("COM¹", "_COM¹"),
        ("CONTROL", "CONTROL"),
        ("lpt10", "lpt10"),
        (".hidden", ".hidden"),
        ("Käfer", "Käfer"),
    ],
)
def test_a_text_becomes_a_name_that_windows_takes(text: str, name: str) -> None:
    assert as_file_name(text) == name
    assert why_refused(name) is None
    assert (why_refused(text) is None) == (text == name)


def test_what_windows_has_against_a_name_is_told() -> None:
    assert why_refused("lr=1e-3,root=C:x") == "it has a ':'"
    assert why_refused("mean.") == "it ends with a dot or a space"
    assert why_refused("aux.txt") == "it is the name of a device"
    assert why_refused("..") is None


def test_names_that_differ_in_case_alone_are_told_apart() -> None:
    names = ["a/Morpho.bsq", "a/morpho.bsq", "a/MORPHO.bsq", "a/morpho-2.bsq", "b.bsq"]
    told = distinct(names)
    assert told == ["a/Morpho.bsq", "a/morpho-3.bsq", "a/MORPHO-4.bsq", "a/morpho-2.bsq", "b.bsq"]
    assert len({name.casefold() for name in told}) == len(names)
