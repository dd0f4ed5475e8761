from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hyperspec.utils.atomic import PART, open_replacing, replacing, write_text


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    write_text(target, "é")
    write_text(target, "second", secure=True)
    assert target.read_bytes() == b"second"
    assert os.listdir(target.parent) == ["a.txt"]


def test_after_an_error_the_old_content_stands(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    seen: list[Path] = []

    def fail_half_way() -> None:
        with open_replacing(target) as file:
            file.write(b"half")
            seen.extend(tmp_path.glob(f".a.txt.*{PART}"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert len(seen) == 1
    assert not seen[0].exists()


def test_permissions_follow_the_umask_or_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "shared", "")
        write_text(tmp_path / "private", "", private=True)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("shared", "private")]
    assert modes == [0o640, 0o600]


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    for name, fits in (("first", True), ("second", False)):
        try:
            with replacing(target) as part:
                part.mkdir()
                (part / name).touch()
        except OSError:
            assert not fits
    assert [path.name for path in target.iterdir()] == ["first"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_that_windows_has_open_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    take = Path.replace

    def refuse(part: Path, target: Path, codes: list[int]) -> Path:
        if codes:
            refused.append(codes.pop(0))
            error = PermissionError(13, "in use", str(target))
            error.winerror = refused[-1]  # type: ignore[attr-defined]
            raise error
        return take(part, target)

    target = tmp_path / "state.json"
    write_text(target, "old")
    codes = [32, 5, 33]
    monkeypatch.setattr(Path, "replace", lambda part, to: refuse(part, to, codes))
    write_text(target, "new")
    assert (target.read_text(), refused) == ("new", [32, 5, 33])
    codes.append(1314)  # the user has no right to it: no wait helps
    with pytest.raises(PermissionError):
        write_text(target, "newer")
    assert (target.read_text(), os.listdir(tmp_path)) == ("new", ["state.json"])
