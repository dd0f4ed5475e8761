"""Bare arrays, and formats that are named instead of read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from cube_oracle import axis_of, fixture_cube, header_text
from scipy.io import savemat

from hyperspec.cubes import open_cube
from hyperspec.cubes.cube import Window
from hyperspec.cubes.read_options import ReadOptions
from hyperspec.utils.errors import AxisError, CubeError

VALUES = fixture_cube((3, 4, 5))  # bands, lines, samples
MATLAB = VALUES.transpose(1, 2, 0)  # as its users keep cubes


def same(path, options=None, values=VALUES):
    with open_cube(path, axis_of(len(values)), options=options or ReadOptions()) as cube:
        np.testing.assert_array_equal(cube.read_raw(), values)
        np.testing.assert_array_equal(
            cube.read_raw([2, 0], Window(1, 2, 2, 3)), values[[2, 0], 1:3, 2:5]
        )
        np.testing.assert_array_equal(cube.read(), values.astype(np.float32))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f4", ">f8", "u1"])
def test_the_bands_of_an_array_are_where_the_axis_fits(tmp_path, order, dtype):
    np.save(tmp_path / "x.npy", VALUES.transpose(order).astype(dtype))
    same(tmp_path / "x.npy", values=VALUES.astype(dtype).astype(np.dtype(dtype).newbyteorder("=")))


@pytest.mark.parametrize("compress", [False, True])
def test_a_mat_file_with_one_cube_and_with_several(tmp_path, compress):
    path = tmp_path / "x.mat"
    savemat(path, {"cube": MATLAB, "gt": np.zeros((4, 5))}, do_compression=compress)
    same(path)
    savemat(path, {"cube": MATLAB, "other": MATLAB + 1, "name": "x"}, do_compression=compress)
    same(path, ReadOptions(array_key="cube"))
    with pytest.raises(CubeError, match=r"several arrays of three .*cube 4×5×3 uint16.*array_key"):
        open_cube(path, axis_of(3))
    with pytest.raises(CubeError, match=r"holds no 'cub' \(data.array_key\); it holds cube 4×5×3"):
        open_cube(path, axis_of(3), options=ReadOptions(array_key="cub"))


def test_equal_sides_are_asked_for(tmp_path):
    values = fixture_cube((4, 4, 5))
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(CubeError, match=r"2 dimensions are as long as the axis.*data.array_bands"):
        open_cube(tmp_path / "x.npy", axis_of(4))
    same(tmp_path / "x.npy", ReadOptions(array_bands="first"), values)
    same(tmp_path / "x.npy", ReadOptions(array_bands="middle"), values.transpose(1, 0, 2))
    with pytest.raises(AxisError, match=r"whose last dimension has 5 items, but the axis 4 bands"):
        open_cube(tmp_path / "x.npy", axis_of(4), options=ReadOptions(array_bands="last"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\); a cube has three dimensions"),
        (np.zeros((3, 4, 5), complex), "type complex128; real numbers are read"),
        (np.zeros((3, 4, 5), "U2"), "real numbers are read"),
        (np.zeros((6, 4, 5)), r"shape \(6, 4, 5\), but the axis has 3 bands"),
        (np.array([None]), r"cannot be read: .*Python objects"),
    ],
)
def test_arrays_that_are_no_cube(tmp_path, values, text):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises((CubeError, AxisError), match=text):
        open_cube(tmp_path / "x.npy", axis_of(3))


def test_an_array_needs_an_axis_and_damage_is_an_error(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    with pytest.raises(AxisError, match=r"x.npy is a bare array without wavelengths.*axis.file"):
        open_cube(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-9])
    with pytest.raises(CubeError, match=r"The array .*x.npy cannot be read"):
        open_cube(tmp_path / "x.npy", axis_of(3))
    savemat(tmp_path / "x.mat", {"cube": MATLAB})
    content = (tmp_path / "x.mat").read_bytes()
    for broken in (content[:200], content[:128] + bytes(100), b"", b"MATLAB 5.0"):
        (tmp_path / "x.mat").write_bytes(broken)
        with pytest.raises(CubeError, match=r"x.mat (cannot be read|holds no arrays)"):
            open_cube(tmp_path / "x.mat", axis_of(3))


def test_a_header_beside_an_array_still_counts(tmp_path):
    """As programs without NumPy read one: its head is skipped by the header's offset."""
    np.save(tmp_path / "x.npy", VALUES)
    size = (tmp_path / "x.npy").stat().st_size
    text = header_text(samples=5, lines=4, interleave="bsq", header_offset=size - VALUES.nbytes)
    (tmp_path / "x.hdr").write_text(text)
    with open_cube(tmp_path / "x.npy") as cube:
        np.testing.assert_array_equal(cube.read_raw(), VALUES)


@pytest.mark.parametrize("block", [0, 512])
def test_matlab_7_3_is_hdf5_whose_dimensions_are_turned_round(tmp_path, block, monkeypatch):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=block) as file:
        file.create_dataset("cube", data=MATLAB.T, compression="gzip")
        file["cube"].attrs["MATLAB_class"] = np.bytes_(MATLAB.dtype.name)
        file["gt"] = np.zeros((5, 4))
        file.create_group("#refs#")
    with open_cube(path, axis_of(3)) as cube:
        np.testing.assert_array_equal(cube.read_raw(), VALUES)
    path.write_bytes(path.read_bytes()[: block + 300])
    with pytest.raises(CubeError, match=r"x.mat cannot be read"):
        open_cube(path, axis_of(3))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CubeError, match=r"version 7.3 \(HDF5\).*hyperspec-sweeps\[matlab\].*-v7"):
        open_cube(path, axis_of(3))


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(600)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.mat", b"MATLAB 7.3 MAT-file, Platform: GLNXA64", r"x.mat cannot be read"),
        ("x.mat", HDF5, r"x.mat cannot be read"),
        ("x.h5", HDF5, r"is HDF5, which is not read.*gdal_translate -of ENVI .*HDF5:.x.h5."),
        ("x.bil", HDF5, "is HDF5"),
        ("x.h5", bytes(512) + HDF5, "is HDF5"),
        ("x.nc", HDF5, r"is NetCDF, .*NETCDF:.x.nc.*data.axis.file"),
        ("x.raw", b"CDF\x02" + bytes(90), "is NetCDF"),
        ("x.hyspex", b"HYSPEX" + bytes(90), "HySpex.*writes it as ENVI"),
        ("x.cu3s", bytes(90), "Cubert.*as ENVI cubes"),
        ("x.sli", bytes(90), "spectral library"),
        ("x.npz", b"PK\x03\x04", "several NumPy arrays.*numpy.save"),
        ("x.zip", b"PK\x03\x04", "a ZIP archive"),
        (
            "x.bil",
            b"\x1f\x8b\x08",
            r"compressed \(gzip\), which is not read. Unpack it: gunzip x.bi",
        ),
    ],
)
def test_other_formats_are_named_with_the_way_to_envi(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CubeError, match=text):
        open_cube(tmp_path / name, axis_of(3))
