"""An outbox of somebody else: `hyperspec sync` sends no file that it has no business with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperspec.tracking.cleanup import send_outbox
from hyperspec.tracking.client import Connection
from hyperspec.tracking.offline.journal import (
    Head,
    Journal,
    new_local_id,
    read_entries,
    read_head,
    waiting_runs,
)


def left_behind(outbox: Path, uri: str, files: list[str]) -> Path:
    """Return the folder of a run whose process is gone."""
    head = Head(new_local_id(), uri, "foreign", "odd", 1, {})
    journal = Journal.create(outbox, head)
    (journal.folder / "files").mkdir()
    (journal.folder / "files/own.txt").write_text("own")
    for file in files:
        journal.append({"op": "artifact", "file": file, "folder": None})
    journal.append({"op": "end", "status": "FINISHED", "time_ms": 2})
    journal.close()
    return journal.folder


def test_files_outside_of_the_outbox_s_folder_are_not_sent(
    connection: Connection, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    outbox = project / ".hyperspec/outbox"
    secret, beside = tmp_path / "secret.txt", project / "outputs/kept.txt"
    secret.write_text("SECRET")
    beside.parent.mkdir(parents=True)
    beside.write_text("beside")
    # Where there was no room for a copy, the original is sent: it lies in the project.
    files = ["files/own.txt", str(beside), str(secret), "../../../../secret.txt", "files/link.txt"]
    folder = left_behind(outbox, connection.uri, files)
    (folder / "files/link.txt").symlink_to(secret)
    found = send_outbox(outbox)
    assert len(found.sent) == 1
    assert len(found.refused) == 3
    assert all("lies outside of the folder of the outbox" in line for line in found.refused)
    names = {file.path for file in connection.client.list_artifacts(found.sent[0])}
    assert names == {"own.txt", "kept.txt"}


@pytest.mark.parametrize("head", [b"[" * 100_000, b"{}", b"[]", b'{"local_id": 1}', b"\xff"])
def test_a_head_that_is_none_is_as_if_nothing_was_said(tmp_path: Path, head: bytes) -> None:
    folder = left_behind(tmp_path, "sqlite:///x.db", [])
    (folder / "run.json").write_bytes(head)
    assert read_head(folder) is None
    assert waiting_runs(tmp_path) == []


def test_fields_of_a_head_are_of_their_types(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, "sqlite:///x.db", [])
    right = json.loads((folder / "run.json").read_text())
    assert read_head(folder) is not None
    for name in right:
        (folder / "run.json").write_text(json.dumps({**right, name: None}))
        assert read_head(folder) is None


def test_torn_and_odd_lines_are_left_out(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, "sqlite:///x.db", [])
    before = read_entries(folder)
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq": "x", "op": "end"}\n{"seq": 7}\n[1]\n\xff\n' + b"[" * 100_000 + b"\n")
    assert read_entries(folder) == before


def test_lines_without_what_their_kind_needs_are_put_aside(
    connection: Connection, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    folder = left_behind(outbox, connection.uri, [])
    wrong = [
        {"op": "metrics", "rows": [["loss", 1.5]]},
        {"op": "tags", "tags": {"a": 1}},
        {"op": "artifact", "file": None},
        {"op": "end", "status": "WELL", "time_ms": 1},
    ]
    with (folder / "journal.jsonl").open("a") as file:
        for seq, line in enumerate([*wrong, {"op": "tags", "tags": {"after": "x"}}], 50):
            file.write(json.dumps({"seq": seq, **line}) + "\n")
    (waiting,) = waiting_runs(outbox)
    assert (waiting.status, waiting.metrics) == ("FINISHED", {})
    found = send_outbox(outbox)
    assert len(found.refused) == len(wrong)
    run = connection.client.get_run(found.sent[0])
    assert run.info.status == "FINISHED"
    assert run.data.tags["after"] == "x"
