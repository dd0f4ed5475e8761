from pathlib import Path

import pytest

from hyperspec.datasets.catalogue.labels import (
    CsvLabels,
    FileLabels,
    FolderLabels,
    NoLabels,
    PatternLabels,
)
from hyperspec.utils.errors import CatalogueError


def write(root: Path, text: str, name: str = "labels.csv") -> Path:
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def test_mission_pattern_reads_label_number_view_and_date():
    name = "Papilio machaon_12V_030521.bil"
    known = PatternLabels().assign(Path("/x"), [name]).files[name]
    assert known == FileLabels(
        specimen="Papilio machaon/12",
        label="Papilio machaon",
        view="V",
        date="030521",
        labels={"label": "Papilio machaon"},
    )


def test_pattern_numbers_recur_across_species_and_views_share_a_specimen():
    names = ["A b_1D_010101.bil", "A b_1V_020101.bil", "C d_1D_010101.bil"]
    files = PatternLabels().assign(Path("/x"), names).files
    assert [files[n].specimen for n in names] == ["A b/1", "A b/1", "C d/1"]


def test_pattern_that_does_not_fit_is_a_problem_and_a_specimen_of_its_own():
    assigned = PatternLabels().assign(Path("/x"), ["sub/scan 7.bil", "A b_1D_010101.bil"])
    assert assigned.files["sub/scan 7.bil"] == FileLabels("sub/scan 7")
    (problem,) = assigned.problems
    assert problem[0] == "sub/scan 7.bil"
    assert "does not fit data.labels.pattern" in problem[1]


def test_own_pattern_with_another_label_group():
    source = PatternLabels(r"(?P<sex>[mf])_(?P<specimen>\d+)", column="sex")
    known = source.assign(Path("/x"), ["m_3.bil"]).files["m_3.bil"]
    assert (known.label, known.specimen, known.view) == ("m", "m/3", None)


def test_broken_pattern_and_missing_group_say_so():
    with pytest.raises(CatalogueError, match=r"data.labels.pattern is '\(\?P<x', which is no reg"):
        PatternLabels("(?P<x").assign(Path("/x"), [])
    with pytest.raises(CatalogueError, match=r"column is 'label'.*has the groups 'sex', 'n'"):
        PatternLabels(r"(?P<sex>.)(?P<n>\d)").assign(Path("/x"), [])


def test_folder_names_are_labels():
    assigned = FolderLabels().assign(Path("/x"), ["a/1.bil", "b/1.bil", "2.bil"])
    assert {n: (f.label, f.specimen) for n, f in assigned.files.items()} == {
        "a/1.bil": ("a", "a/1"),
        "b/1.bil": ("b", "b/1"),
        "2.bil": (None, "2"),
    }
    assert [p[0] for p in assigned.problems] == ["2.bil"]


def test_no_labels():
    assert NoLabels().assign(Path("/x"), ["s/a.bil"]).files == {"s/a.bil": FileLabels("s/a")}


def test_csv_with_any_label_columns(tmp_path):
    write(
        tmp_path,
        "\ufefffile, species, sex, specimen, view, date\n"
        "a.bil, one, m, 1, D, 2020\n"
        "b.bil, one, f, 2, D, 2020\n"
        "c.bil, two, m, 1, D, 2021\n",
    )
    names = ["a.bil", "b.bil", "sub/c.bil"]  # c is found by its bare name
    assigned = CsvLabels(column="sex").assign(tmp_path, names)
    assert assigned.problems == ()
    assert assigned.files["a.bil"] == FileLabels(
        "one/1", "m", "D", "2020", {"species": "one", "sex": "m"}
    )
    # Grouped by (species, number) though the label is another column.
    assert [assigned.files[n].specimen for n in names] == ["one/1", "one/2", "two/1"]


def test_csv_without_species_column_groups_within_the_label(tmp_path):
    write(tmp_path, "file,sex,specimen\na.bil,m,1\nb.bil,f,1\n")
    files = CsvLabels(column="sex").assign(tmp_path, ["a.bil", "b.bil"]).files
    assert [f.specimen for f in files.values()] == ["m/1", "f/1"]


def test_csv_rows_without_cubes_and_cubes_without_rows_are_problems(tmp_path):
    write(tmp_path, "file,species\na.bil,one\ngone.bil,one\na.bil,one\nblank.bil,\n")
    assigned = CsvLabels().assign(tmp_path, ["a.bil", "new.bil", "blank.bil"])
    assert assigned.files["a.bil"].label == "one"
    assert dict(assigned.problems) == {
        "gone.bil": "has a row in labels.csv (line 3) but no cube",
        "a.bil": "has a second row in labels.csv (line 4), not used",
        "blank.bil": "has no 'species' in labels.csv (line 5)",
        "new.bil": "has no row in labels.csv, so it has no label",
    }
    assert assigned.files["new.bil"] == FileLabels("new")


def test_unknown_column_names_column_file_and_the_columns_that_exist(tmp_path):
    path = write(tmp_path, "file,genus,sex\na.bil,x,m\n", "names.csv")
    with pytest.raises(CatalogueError) as caught:
        CsvLabels("names.csv", "species").assign(tmp_path, ["a.bil"])
    assert str(caught.value) == (
        f"The column 'species' (needed by data.labels.column) is not in {path}, which has the "
        "columns 'file', 'genus', 'sex'. Name one of these, or add it to the file."
    )


def test_csv_without_file_column_or_missing_or_binary(tmp_path):
    with pytest.raises(CatalogueError, match=r"labels.csv do not exist.*data.labels.file"):
        CsvLabels().assign(tmp_path, [])
    write(tmp_path, "name,species\n")
    with pytest.raises(CatalogueError, match=r"column 'file' \(needed by every CSV"):
        CsvLabels().assign(tmp_path, [])
    (tmp_path / "labels.csv").write_bytes(b"file,\xff\xfe\x00species\n")
    with pytest.raises(CatalogueError, match="no UTF-8 table"):
        CsvLabels().assign(tmp_path, [])
