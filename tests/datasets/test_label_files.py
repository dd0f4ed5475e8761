"""Labels as people write them: each file gives right labels, or is refused with its line."""

import unicodedata
from pathlib import Path

import pytest

from hyperspec.datasets.catalogue.labels import (
    CsvLabels,
    FolderLabels,
    NoLabels,
    PatternLabels,
)
from hyperspec.utils.errors import CatalogueError

FILES = [f"s{i:02d}.bil" for i in range(4)]


def assign(root: Path, text: str | bytes, files=FILES, **options):
    content = text.encode() if isinstance(text, str) else text
    (root / "labels.csv").write_bytes(content)
    return CsvLabels(**options).assign(root, files)


def table(*rows: str, header: str = "file,species,specimen,view") -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = table(*(f"{name},{'one' if i % 2 else 'two'},{i},D" for i, name in enumerate(FILES)))
WAYS = {
    "plain": GOOD.encode(),
    "byte-order mark": GOOD.encode("utf-8-sig"),
    "utf-16": GOOD.encode("utf-16"),
    "utf-16 big endian": "\ufeff".encode("utf-16-be") + GOOD.encode("utf-16-be"),
    "utf-16 without a mark": GOOD.encode("utf-16-le"),
    "utf-32": GOOD.encode("utf-32"),
    "semicolons": GOOD.replace(",", ";").encode(),
    "tabs": GOOD.replace(",", "\t").encode(),
    "Excel's Unicode text": GOOD.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    "sep=": b"sep=;\r\n" + GOOD.replace(",", ";").replace("\n", "\r\n").encode(),
    "carriage returns": GOOD.replace("\n", "\r").encode(),
    "empty columns and rows": GOOD.replace("\n", ",,\n").encode() + b",,,,,\n\n,,,,,\n",
    "text formulas": GOOD.replace(",0,", ',="0",').replace("two", '"two"').encode(),
    "spaces": GOOD.replace(",", ", ").replace("one", "one\u00a0").encode(),
    "index of pandas": "".join(f"{i},{x}\n" for i, x in enumerate(GOOD.splitlines())).replace(
        "0,file", ",file"
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_tables_as_programs_write_them(tmp_path, way):
    assigned = assign(tmp_path, WAYS[way])
    assert assigned.problems == ()
    assert [assigned.files[name].label for name in FILES] == ["two", "one"] * 2
    assert [assigned.files[name].specimen for name in FILES] == [
        "two/0", "one/1", "two/2", "one/3",
    ]  # fmt: skip
    assert {known.view for known in assigned.files.values()} == {"D"}


BAD = {
    "comma in a value": (
        table("s00.bil,Morpho, helena,0,D", "s01.bil,one,1,D", "s02.bil,Morpho, helena,2,D"),
        r"lines 2, 4 hold more values than the 4 columns.*s00.bil \| Morpho \| helena \| 0 \| D",
    ),
    "one comma too many": (
        table("s00.bil,one,0,D", "s01.bil,one,1,D,x"),
        "line 3 holds more values than the 4 columns",
    ),
    "a comma that hides in a column without a name": (
        table("s00.bil,Morpho, helena,0,D", header="file,species,specimen,view,"),
        "line 2 holds more values than the 4 columns",
    ),
    "semicolon": (
        table("s00.bil;a;b;0;D", header="file;species;specimen;view"),
        "line 2 holds more values",
    ),
    "column twice": (
        table("s00.bil,one,two,0", header="file,species,species,specimen"),
        r"line 1: the column 'species' is there 2 times, as columns 2 \('species'\), 3",
    ),
    "column twice but for its case": (
        table("s00.bil,one,two,0", header="file,species, Species ,specimen"),
        r"as columns 2 \('species'\), 3 \('Species'\)",
    ),
    "quote open to the end": (
        table("s00.bil,one,0,D", 's01.bil,"one,1,D', "s02.bil,one,2,D"),
        "line 3: a quote is opened and not closed",
    ),
    "quote open to the next": (
        table('s00.bil,"one,0,D', 's01.bil,"one",1,D'),
        "line 2: a quote is opened and not closed",
    ),
    "quotes that swallow a row": (
        table('s00.bil,"one,0,D', 's01.bil,one",1,D'),
        "line 2: the value of 'species' that begins with 'one,0,D' runs over 2 lines",
    ),
    "latin-1": (
        table("s00.bil,one,0,D", "s01.bil,Pérez,1,D").encode("latin-1"),
        "is no UTF-8 table: the byte 0xe9 in line 3 is not valid UTF-8",
    ),
    "workbook": (b"PK\x03\x04whatever", "is a workbook of a spreadsheet program"),
    "two rows that disagree": (
        table("s00.bil,one,0,D", "s01.bil,one,1,D", "S00,two,0,D"),
        "the cube s00.bil has two rows, in line 2 with species 'one' and in line 4 with 'two'",
    ),
    "no row fits": (
        table("x00.bil,one,0,D", "x01.bil,one,1,D"),
        r"no row of .* fits a cube: its rows are of files like 'x00.bil' \(line 2\), and cubes are "
        "called like s00.bil",
    ),
    "no row": (table(), "no row of .* fits a cube: it has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_what_could_shift_a_value_is_refused_with_its_line(tmp_path, fault):
    text, message = BAD[fault]
    with pytest.raises(CatalogueError, match=message):
        assign(tmp_path, text)


def test_a_comma_that_a_missing_cell_makes_up_for_is_doubted(tmp_path):
    rows = ["s00.bil,Morpho, helena,0", *(f"s0{i}.bil,one,{i},D" for i in range(1, 4))]
    (problem,) = assign(tmp_path, table(*rows)).problems
    assert problem[0] == "."
    assert "rows in labels.csv (line 2) where a space follows a separator" in problem[1]
    rows[0] = 's00.bil,"Morpho, helena",0,D'
    assert assign(tmp_path, table(*rows)).problems == ()


def test_a_row_that_ends_early_is_told(tmp_path):
    rows = ["s00.bil,one,0,D", "s01.bil,one", "s02.bil,one,2,D", "s03.bil,one,3,D"]
    problems = assign(tmp_path, table(*rows)).problems
    assert problems[0] == (
        "s01.bil",
        "has a row in labels.csv (line 3) that ends before 'specimen', 'view', taken as empty",
    )
    assert problems[1][1].startswith("has 1 cube without a specimen in labels.csv")


def test_lines_are_those_of_the_file(tmp_path):
    text = 'file,species,note\n\ns00.bil,one,"two\nlines"\n\ngone.bil,one,\n'
    problems = dict(assign(tmp_path, text, ["s00.bil"]).problems)
    assert problems == {"gone.bil": "has a row in labels.csv (line 6) but no cube"}


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("s00", "s00.bil"),
        ("s00.hdr", "s00.bil"),
        ("s00.bil.HDR", "s00.bil"),
        ("S00.BIL", "s00.bil"),
        ("./s00.bil", "s00.bil"),
        ("D:\\scans\\s00.bil", "s00.bil"),
        ("/home/me/scans/s00", "s00.bil"),
        ("day 1\\s00.bil", "day 1/s00.bil"),
        ("s00", "day 1/s00.BIL"),
        ("1", "001.raw"),  # a spreadsheet takes 001 for a number
        ("scan_1.2_a", "scan_1.2_a"),
        (unicodedata.normalize("NFC", "Pérez.bil"), unicodedata.normalize("NFD", "Pérez.bil")),
    ],
)
def test_rows_find_their_cubes(tmp_path, written, file):
    assigned = assign(tmp_path, f"file;species\n{written};one\n", [file, "other.bil"])
    assert assigned.files[file].label == "one"


@pytest.mark.parametrize(
    ("written", "files"),
    [
        ("s00.bil", ["a/s00.bil", "b/s00.bil"]),
        ("s00", ["s00.bil", "s00.raw"]),
    ],
)
def test_a_row_that_fits_several_cubes_is_told(tmp_path, written, files):
    text = f"file,species\n{written},one\nlast.bil,two\n"
    assigned = assign(tmp_path, text, [*files, "last.bil"])
    assert [assigned.files[name].label for name in files] == [None, None]
    assert (
        f"that fits several cubes ({', '.join(files)}), not used"
        in dict(assigned.problems)[written]
    )


@pytest.mark.parametrize("written", ["day 2/s00.bil", "s00.tif", "s0", "xs00.bil"])
def test_a_row_of_another_file_finds_none(tmp_path, written):
    text = f"file,species\n{written},one\nlast.bil,two\n"
    assigned = assign(tmp_path, text, ["day 1/s00.bil", "last.bil"])
    assert assigned.files["day 1/s00.bil"].label is None


def test_full_paths_and_exact_names_come_first(tmp_path):
    files = ["s00.bil", "a/s00.bil", "S00.bil"]
    text = "file,species\nD:/x/a/s00.bil,one\ns00.bil,two\nS00.bil,three\n"
    assigned = assign(tmp_path, text, files)
    assert [assigned.files[name].label for name in files] == ["two", "one", "three"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("01", "1"), ("1", "1.0"), ("A07", "a7"), ("é1", "e\u03011"), ("7 b", "7  B")],
)
def test_a_specimen_that_is_written_in_two_ways_is_one_animal(tmp_path, first, second):
    rows = [f"s00.bil,one,{first},D", f"s01.bil,one,{second},V", "s02.bil,two,1,D"]
    assigned = assign(tmp_path, table(*rows), FILES[:3])
    known = assigned.files
    assert known["s00.bil"].specimen == known["s01.bil"].specimen != known["s02.bil"].specimen
    ((file, text),) = assigned.problems
    assert file == "."
    assert "specimens that are written in several ways in labels.csv" in text


@pytest.mark.parametrize(("first", "second"), [("1", "10"), ("1.05", "1.5"), ("1-2", "12")])
def test_other_specimens_stay_apart(tmp_path, first, second):
    rows = [f"s00.bil,one,{first},D", f"s01.bil,one,{second},V"]
    assigned = assign(tmp_path, table(*rows), FILES[:2])
    assert assigned.problems == ()
    assert len({known.specimen for known in assigned.files.values()}) == 2


@pytest.mark.parametrize(
    ("ways", "shown"),
    [
        (["Morpho helena", "morpho helena"], "'Morpho helena' (2), 'morpho helena' (2)"),
        (["Morpho helena", "Morpho  helena"], "Morpho␣␣helena' (2)"),
        (["Morpho helena", "Morpho\u00a0helena"], r"'Morpho\xa0helena' (2)"),
        (["Morpho_helena", "Morpho helena"], "'Morpho helena' (2), 'Morpho_helena' (2)"),
        (["Pérez", unicodedata.normalize("NFD", "Pérez")], r"'Pe\u0301rez' (2), 'P\xe9rez' (2)"),
        (["07", "7"], "'07' (2), '7' (2)"),
    ],
)
def test_spellings_of_one_label_are_listed(tmp_path, ways, shown):
    rows = [f"{name},{ways[i % 2]},{i},D" for i, name in enumerate(FILES)]
    ((file, text),) = assign(tmp_path, table(*rows)).problems
    assert file == "."
    assert shown in text
    assert "'species'" in text


def test_spellings_of_other_columns_are_listed_where_values_repeat(tmp_path):
    header = "file,species,session,mass"
    rows = [
        f"{name},{'one' if i % 2 else 'two'},{'Day 1' if i < 2 else 'day 1'},{i or '0.0'}"
        for i, name in enumerate(FILES)
    ]
    rows[1] = rows[1][:-1] + "0"
    ((_, text),) = assign(tmp_path, table(*rows, header=header)).problems
    assert "values of 'session' in labels.csv" in text


def test_placeholders_are_unlabelled_with_a_line(tmp_path):
    words = ["one", "NA", "?", "Unknown", "#N/A", "one"]
    files = [f"s{i}.bil" for i in range(6)]
    rows = [f"{name},{word},{i},D" for i, (name, word) in enumerate(zip(files, words, strict=True))]
    assigned = assign(tmp_path, table(*rows), files)
    assert [assigned.files[name].label for name in files] == ["one", *[None] * 4, "one"]
    assert [assigned.files[name].specimen for name in files][1:3] == ["NA/1", "?/2"]
    ((_, text),) = assigned.problems
    assert text.startswith("has 4 cubes whose 'species' is a placeholder in labels.csv")
    assert "'Unknown' (1)" in text
    kept = assign(tmp_path, table(*rows), files, placeholders=["?"])
    assert [kept.files[name].label for name in files] == [
        "one", "NA", None, "Unknown", "#N/A", "one",
    ]  # fmt: skip


def test_a_specimen_that_is_a_placeholder_is_not_one_animal(tmp_path):
    rows = [f"{name},one,{'?' if i < 2 else i},D" for i, name in enumerate(FILES)]
    assigned = assign(tmp_path, table(*rows))
    assert len({known.specimen for known in assigned.files.values()}) == 4
    texts = [text for _, text in assigned.problems]
    assert "'specimen' is a placeholder" in texts[0]
    assert "each of them counts as an animal of its own" in texts[0]


def test_none_is_a_class_and_doubted(tmp_path):
    rows = [f"{name},{'none' if i % 2 else 'drug'},{i},D" for i, name in enumerate(FILES)]
    assigned = assign(tmp_path, table(*rows))
    assert assigned.files["s01.bil"].label == "none"
    ((_, text),) = assigned.problems
    assert "has 2 cubes whose 'species' is 'none', which is a class like any other" in text
    assert assign(tmp_path, table(*rows), placeholders=[]).problems == ()


def test_numbers_that_a_spreadsheet_shortened_are_told(tmp_path):
    rows = [f"{name},one,1.23457E+12,D" for name in FILES]
    ((_, text),) = assign(tmp_path, table(*rows)).problems
    assert "'1.23457E+12' in labels.csv, a number that a spreadsheet program has shortened" in text


MISSION = [
    f"{species}_{number}{view}_01010{number}.bil"
    for species in ("A b", "C d")
    for number in (1, 2, 3)
    for view in "DV"
]
LOOKS = "file names look like data/labels=pattern: 2 species, 6 specimens, two views each"


def test_names_that_fit_the_pattern_are_recognised(tmp_path):
    with pytest.raises(CatalogueError, match=f"labels.csv do not exist.*The {LOOKS}"):
        CsvLabels().assign(tmp_path, MISSION)
    with pytest.raises(CatalogueError, match=f"no row of .*The {LOOKS}"):
        assign(tmp_path, table("x,one,1,D"), MISSION)
    with pytest.raises(CatalogueError, match=f"all 12 cubes lie directly in.*The {LOOKS}"):
        FolderLabels().assign(tmp_path, MISSION)
    assert f"has no labels, but {LOOKS}" in NoLabels().assign(tmp_path, MISSION).notes
    part = [*MISSION[:3], "test.bil"]
    assert (
        "has no labels, but 3 of 4 file names look like data/labels=pattern: 1 species, 2 "
        "specimens, one or two views each"
    ) in NoLabels().assign(tmp_path, part).notes
    assert NoLabels().assign(tmp_path, FILES).notes == ()


def test_other_tables_are_named_where_labels_csv_is_missing(tmp_path):
    (tmp_path / "Labels.CSV").write_text("file\n")
    (tmp_path / "species.xlsx").write_bytes(b"PK")
    with pytest.raises(CatalogueError, match=r"The folder has Labels.CSV, species.xlsx. Put a CSV"):
        CsvLabels().assign(tmp_path, FILES)


def test_a_pattern_that_fits_no_file_trains_nothing(tmp_path):
    with pytest.raises(CatalogueError, match=r"none of the 4 file names .* such as s00.bil"):
        PatternLabels().assign(tmp_path, FILES)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A b_1D_010101.bil", "A b_1V_020202.bil"),
        ("s01_D.bil", "s01_V.bil"),
        ("s01-dorsal.raw", "s01-Ventral.raw"),
        ("s01D_run.bil", "s01V_run.bil"),
        ("dorsal/s01.bil", "ventral/s01.bil"),
        ("left wing 7.bil", "right wing 7.bil"),
        ("top_s01_x.bil", "bottom_s01_x.bil"),
    ],
)
def test_views_of_one_animal_stay_together_without_labels(first, second):
    files = [first, second, "s02.bil", "s03_D.bil"]
    assigned = NoLabels().assign(Path("/x"), files)
    specimens = [assigned.files[name].specimen for name in files]
    assert specimens[0] == specimens[1]
    assert len(set(specimens)) == 3
    assert specimens[2:] == ["s02", "s03_D"]  # the others keep the key that they had
    assert any("2 cubes of 1 animal by their names" in note for note in assigned.notes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("s01_D.bil", "s02_V.bil"),
        ("a/s01_D.bil", "b/s01_V.bil"),
        ("s_1.bil", "s_2.bil"),
        ("s01_D.bil", "s01_R.bil"),  # of no pair
        ("A b_1D_010101.bil", "C d_1V_010101.bil"),
    ],
)
def test_other_animals_are_not_joined(first, second):
    known = NoLabels().assign(Path("/x"), [first, second]).files
    assert known[first].specimen != known[second].specimen


def test_views_stay_together_where_labels_have_no_numbers(tmp_path):
    files = ["a/s1_D.bil", "a/s1_V.bil", "b/s1_D.bil"]
    folders = FolderLabels().assign(Path("/x"), files).files
    assert [folders[name].specimen for name in files] == ["a/s1_D", "a/s1_D", "b/s1_D"]
    rows = ["a/s1_D,one", "a/s1_V,one", "b/s1_D,two"]
    named = assign(tmp_path, table(*rows, header="file,species"), files).files
    assert [named[name].specimen for name in files] == ["a/s1_D", "a/s1_D", "b/s1_D"]
    # Two labels are two animals, whatever the names say.
    rows[1] = "a/s1_V,two"
    named = assign(tmp_path, table(*rows, header="file,species"), files).files
    assert named["a/s1_V.bil"].specimen != named["a/s1_D.bil"].specimen


@pytest.mark.parametrize(
    "content", ["root:SECRET:0,0", "a,SECRET\n1,2,3,4", "file,file,SECRET\n", 'file,x\n"SECRET']
)
def test_a_file_elsewhere_that_is_no_table_of_labels_is_not_shown(tmp_path, content):
    folder = tmp_path / "data"
    folder.mkdir()
    for place in (tmp_path / "other.txt", folder / "labels.csv"):
        place.write_text(content)
    (folder / "link.csv").symlink_to(tmp_path / "other.txt")
    for name in ("../other.txt", str(tmp_path / "other.txt"), "link.csv"):
        with pytest.raises(CatalogueError, match=r"lies outside of .* and is no table") as told:
            CsvLabels(name).assign(folder, ["a.bil"])
        assert "SECRET" not in str(told.value)
        assert told.value.__suppress_context__
    with pytest.raises(CatalogueError, match=r"labels\.csv"):
        CsvLabels().assign(folder, ["a.bil"])
