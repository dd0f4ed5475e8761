"""Whatever stands in a header, the answer is a cube or one of our own errors."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from cube_oracle import header_text
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.cubes.envi.header import parse_header
from hyperspec.cubes.envi.wavelengths import axis_from_header
from hyperspec.cubes.open import open_cube
from hyperspec.utils.errors import HyperspecError

# A hang, on any machine: what grows with the square of these lengths takes hours.
LONGEST_S = 120.0
VALID = header_text(
    description="{made = by\n a {test}}",
    byte_order=0,
    header_offset=0,
    file_type="ENVI Standard",
    fwhm="{1, 2, 3}",
    bbl="{1, 1, 0}",
    reflectance_scale_factor=10000,
    data_ignore_value=65535,
).encode()
SNIPPETS = [
    b"{", b"}", b"=", b"\r", b"\n", b";", b",", b"\x00", b"\xb5", b"-1", b"nan", b"1e999",
    b"99999999999999999999", b"samples = ", b"wavelength = {", b"data type = 6\n", b"ENVI", b"um",
]  # fmt: skip


@st.composite
def mutated(draw, seeds: list[bytes]):
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        stop = min(len(content), at + draw(st.integers(0, 40)))
        content[at:stop] = draw(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=12)))
    return bytes(content)


def parse(content: bytes) -> None:
    header = parse_header(content, Path("x.hdr"))
    assert min(header.bands, header.lines, header.samples) >= 1
    assert len(axis_from_header(header)) == header.bands


def read(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bil"
        path.write_bytes(bytes(range(48)))
        path.with_suffix(".hdr").write_bytes(content)
        with open_cube(path) as cube:
            assert cube.read_raw().nbytes <= 48
            assert cube.read().shape == cube.shape


def check(content: bytes) -> None:
    """Parse, and open beside 48 bytes of data: nothing but our errors, nothing too large."""
    for step in (parse, read):
        message = None
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                step(content)
            except HyperspecError as error:
                message = str(error)
        assert time.perf_counter() - begin < LONGEST_S
        assert message is None or 20 < len(message) < 1000


@settings(max_examples=150, deadline=None)
@given(mutated([VALID]))
def test_mutated_headers(content):
    check(content)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300).map(lambda tail: b"ENVI\n" + tail))
def test_random_bytes(content):
    check(content)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["samples", "lines", "bands", "data_type", "byte_order", "header_offset"]),
        st.one_of(st.integers(-3, 10**20), st.text(max_size=6), st.floats()),
        min_size=1,
    )
)
def test_claims_are_held_against_the_file(claims):
    check(header_text(**claims).encode("utf-8", "surrogatepass"))


def test_the_fuzzed_header_is_readable_to_begin_with(tmp_path):
    (tmp_path / "x.hdr").write_bytes(VALID)
    (tmp_path / "x.bil").write_bytes(bytes(range(48)))
    with open_cube(tmp_path / "x.bil") as cube:
        expected = np.frombuffer(bytes(range(48)), "<u2").reshape(2, 3, 4).transpose(1, 0, 2)
        np.testing.assert_array_equal(cube.read_raw(), expected)


@pytest.mark.parametrize(
    "tail",
    [
        b"{" * 10**6,
        b"a = {\n" * 10**5,
        b"a = {x}\n" * 10**5,
        b"{a = {}\n" * 10**5,
        b" \n" * 10**6,
        header_text(wavelength="{" + "," * 10**6 + "}").encode()[5:],
        header_text(wavelength="{" + "1," * 10**6 + "}").encode()[5:],
    ],
    ids=["braces", "unclosed", "closed", "nested", "blank", "commas", "list"],
)
def test_long_headers_do_not_hang(tail):
    begin = time.perf_counter()
    with pytest.raises(HyperspecError):
        axis_from_header(parse_header(b"ENVI\n" + tail, Path("x.hdr")))
    assert time.perf_counter() - begin < LONGEST_S


@pytest.mark.real_data
def test_mutated_real_headers(real_data):
    seeds = [path.read_bytes() for path in sorted(real_data.rglob("*.hdr"))]
    assert len(seeds) > 20

    @settings(max_examples=100, deadline=None)
    @given(mutated(seeds))
    def run(content):
        check(content)

    run()
