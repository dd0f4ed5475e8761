"""The explorer: what is embedded, that it stays small, and the page in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from hyperspec.inference.thumbnails import Thumbnails, as_png, spread_bands, take_thumbnails
from hyperspec.report.explorer import page, sheets
from hyperspec.report.explorer.content import spectra_codes
from hyperspec.spectra.axis import SpectralAxis

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "</script><img src=x onerror='parent.harmed=1'><b>&amp;"
NM = np.linspace(400.0, 700.0, 31)
NUM = 12
WIDTHS = (400, 1400)


class Source:
    """Images whose value tells row and band; of 16 columns the first 9 are foreground."""

    size, axis = 16, SpectralAxis(NM)

    def planes(self, rows: Sequence[int]) -> NDArray[np.float64]:
        level = 0.1 + 0.02 * np.asarray(rows)[:, None] + 0.01 * np.arange(len(NM))
        return level[..., None, None] * self.masks(rows)[:, None]

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        return np.broadcast_to(np.arange(16) < 9, (len(rows), 16, 16))


def thumbs(size: int = 8, num_bands: int = 3) -> Thumbnails:
    bands = spread_bands(Source.axis, [], num_bands)
    return take_thumbnails(Source(), range(NUM), size=size, bands=bands)  # type: ignore[arg-type]


def content(label: str = "plain") -> dict[str, Any]:
    """What a page of twelve images on a line holds: two labels, the last two of the test part."""
    xy = [number for place in range(NUM) for number in (place / 6 - 0.9, 0.0)]
    named = {"column": "label", "values": ["other", label]}
    return {
        "files": [f"folder/{place}.bil" for place in range(NUM - 1)] + [f"{HOSTILE}.bil"],
        "specimens": [f"s{place}" for place in range(NUM)],
        "parts": ["train", "test"],
        "part": [0] * 10 + [1] * 2,
        "columns": [
            {"name": "label", "values": ["other", label], "codes": [0, 1] * 6},
            {"name": "weight", "numbers": [None, *map(float, range(1, NUM))]},
        ],
        "first": 0,
        "maps": [{"name": "PCA: 60% and 20% of the variance", "xy": xy}],
        "neighbours": [[(place + 1) % NUM, (place + 2) % NUM] for place in range(NUM)],
        "likeness": [[0.9, 0.8]] * NUM,
        # The first of the test part is named wrongly.
        "named": named | {"probes": {"k-NN": [-1] * 10 + [1, 1]}},
        "spectra": spectra_codes(thumbs().spectra, NM),
        "quantity": "reflectance",
        "chosen": [450.0, 550.0],
        "title": "a title",
        "about": [],
        "windows": [{"start": 500.0, "stop": 520.0, "text": "500-520 nm"}],
        "windows_note": "",
        "pictures": sheets.fit(thumbs(), 0, NM),
    }


def test_pictures_keep_the_foregrounds_level_and_compare_specimens() -> None:
    one = thumbs(size=8)
    assert one.colour.shape == (NUM, 8, 8, 3)
    assert one.planes.shape == (3, NUM, 8, 8)
    assert one.bands == (0, 15, 30)
    # Column 4 is half foreground: its level is that of the foreground, not mixed with the rest.
    assert one.masks[0, 0].tolist() == [True] * 5 + [False] * 3
    for plane in one.planes:
        levels = [int(picture[3, 0]) for picture in plane]
        assert [int(picture[3, 4]) for picture in plane] == levels
        assert levels == sorted(levels)
        assert len(set(levels)) == NUM  # brighter specimens are brighter, at each band
        assert levels[-1] == 255
        assert plane[:, :, 5:].max() == 0
    np.testing.assert_allclose(one.spectra, Source().planes(range(NUM))[..., 0, 0], rtol=1e-6)
    small = one.smaller(4, 2)
    assert small.bands == (0, 30)
    assert small.planes[0, :, 0, 0].tolist() == one.planes[0, :, 0, 0].tolist()


def test_bands_to_show_are_the_chosen_ones_and_the_gaps_between() -> None:
    assert spread_bands(Source.axis, [], 4) == [0, 7, 15, 30]
    assert spread_bands(Source.axis, [3, 4], 4) == [0, 3, 4, 30]
    assert len(spread_bands(Source.axis, range(31), 9)) == 9
    assert spread_bands(Source.axis, [], 99) == list(range(31))


def test_a_picture_of_a_table_has_a_transparent_background() -> None:
    one = thumbs(size=16)
    read = imread(io.BytesIO(as_png(one.colour[2], one.masks[2])))
    np.testing.assert_array_equal(np.rint(read[..., :3] * 255), one.colour[2])
    np.testing.assert_array_equal(read[..., 3] > 0.5, one.masks[2])


def test_pictures_shrink_until_the_page_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = thumbs(size=16, num_bands=8)
    planes = np.random.default_rng(0).integers(0, 256, noisy.planes.shape, dtype=np.uint8)
    noisy = Thumbnails(**{**vars(noisy), "planes": planes})
    whole = sheets.fit(noisy, 0, NM)
    assert (whole["size"], len(whole["bands"])) == (16, 8)
    monkeypatch.setattr(sheets, "BUDGET", 12_000)
    found = sheets.fit(noisy, 2_000, NM)
    sources = [found["colour"], found["mask"], *(one["src"] for one in found["bands"])]
    assert 2_000 + sum(map(len, sources)) <= 12_000
    assert len(found["bands"]) < 8
    assert {found["bands"][0]["nm"], found["bands"][-1]["nm"]} == {400.0, 700.0}
    assert sheets.first_step(NUM, 0, 16)[0] == 16  # no larger than the images are


@pytest.mark.parametrize(("num", "bands"), [(48, 408), (2000, 408), (2000, 31)])
def test_the_first_guess_leaves_room_for_the_rest(num: int, bands: int) -> None:
    taken = num * bands * 3
    size, shown = sheets.first_step(num, taken, 64)
    assert taken + 4 / 3 * num * size**2 * (shown + 1.5) * 0.25 <= sheets.BUDGET < 15e6
    assert (size, shown) >= (32, 6)


def test_too_many_images_leave_out_whole_specimens_evenly() -> None:
    names = [f"s{place // 2:03d}" for place in range(200)]
    assert page.thinned(names, 200) == list(range(200))
    kept = page.thinned(names, 50)
    assert len(kept) == 50
    assert {row // 2 for row in kept} == set(range(0, 100, 4))
    assert [row % 2 for row in kept] == [0, 1] * 25


def test_no_text_of_the_data_is_markup() -> None:
    made = page.html_of(content(HOSTILE), f"{HOSTILE} title")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', made, re.DOTALL)
    assert data is not None
    assert json.loads(data[1]) == content(HOSTILE)
    assert "<img" not in made
    assert "Content-Security-Policy" in made
    assert not re.search(r"(src|href)=.http", made)


def test_spectra_are_exact_to_16_bits() -> None:
    given = np.array([[0.0, 0.3, 1.0], [0.25, 0.5, 0.75]], np.float32)
    told = spectra_codes(given, np.array([700.0, 500.0, 600.0]))
    assert told["nm"] == [500.0, 600.0, 700.0]
    codes = np.frombuffer(base64.b64decode(told["codes"]), "<u2").reshape(2, 3)
    np.testing.assert_allclose(told["low"] + codes * told["step"], given[:, [1, 2, 0]], atol=1e-5)


# A page of the same origin may look into its frames, and do there what a person does.
DRIVE = """<!DOCTYPE html><body><script>
function drive(frame) {
  const win = frame.contentWindow, page = frame.contentDocument, map = page.getElementById("map");
  const text = id => page.getElementById(id).textContent, box = map.getBoundingClientRect();
  const key = name => map.dispatchEvent(new win.KeyboardEvent("keydown", { key: name }));
  const point = (kind, x, y) => map.dispatchEvent(new win.PointerEvent(kind, { pointerId: 1,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerType: "mouse" }));
  const seen = { width: Number(frame.width), scrolled: page.documentElement.scrollWidth };
  map.focus();
  key("w");
  seen.wrong = text("live");
  key("Enter");
  seen.pinned = text("detail");
  seen.near = page.querySelectorAll("#near button").length;
  key("ArrowRight");
  seen.right = text("live");
  point("pointerdown", 0, 0); point("pointermove", 0.45, 0.99); point("pointerup", 0.45, 0.99);
  seen.selected = text("selected");
  seen.spectra = text("spectra-title");
  seen.lines = [...page.querySelectorAll("#series li")].map(one => one.textContent);
  seen.spread = page.querySelectorAll("#spectra .spread").length;
  seen.chosen = page.querySelectorAll("#spectra .chosen").length;
  const slide = page.getElementById("slide");
  slide.value = 2; slide.dispatchEvent(new win.Event("input"));
  seen.at = text("at");
  seen.legend = text("legend");
  seen.mistakes = text("wrongs-title");
  key("Escape");
  seen.cleared = text("selected");
  const pixels = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
  seen.drawn = pixels.some(one => one > 0);
  seen.widest = Math.max(...[...page.querySelectorAll("button, select, canvas, table, p, li, svg")]
    .map(one => one.getBoundingClientRect().right));
  return seen;
}
onload = () => {
  const frames = [...document.querySelectorAll("iframe")];
  const wait = () => {
    const ready = frames.every(one => one.contentDocument.documentElement.dataset.ready);
    if (!ready) return setTimeout(wait, 50);
    const found = { harmed: window.harmed ?? null, frames: frames.map(drive) };
    const bytes = new TextEncoder().encode(JSON.stringify(found));
    document.body.replaceChildren(btoa(String.fromCharCode(...bytes)));
  };
  wait();
};
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_answers_mouse_and_keys_at_two_sizes(tmp_path: Path) -> None:
    made = page.html_of(content(HOSTILE), "a title")
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(made)}"></iframe>'
        for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(DRIVE + frames)
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--user-data-dir={tmp_path}/profile", "--window-size=2000,1000"]
    words += ["--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [*words, f"file://{tmp_path}/frames.html"],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    body = re.search(r"<body>([\w+/=]+)</body>", done.stdout)
    assert body is not None, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(base64.b64decode(body[1]))
    assert found["harmed"] is None
    for seen, width in zip(found["frames"], WIDTHS, strict=True):
        assert seen["width"] == width
        assert seen["scrolled"] <= width
        assert seen["widest"] <= width
        assert seen["drawn"]
        assert seen["wrong"] == f"10.bil, other, test, named {HOSTILE}, wrongly"
        assert "folder/10.bil" in seen["pinned"]
        assert f"{HOSTILE} (wrong)" in seen["pinned"]
        assert seen["near"] == 2
        assert seen["right"].endswith(f"<b>&amp;.bil, {HOSTILE}, test, named {HOSTILE}")
        assert seen["selected"].startswith("5 images selected")
        assert seen["spectra"] == "Mean spectra of 5 selected images"
        assert seen["lines"] == ["other (3)", f"{HOSTILE} (2)"]
        assert seen["spread"] == 2
        assert seen["chosen"] == 2
        assert seen["at"] == "550 nm"
        assert HOSTILE in seen["legend"]
        assert seen["mistakes"] == "Named wrongly by k-NN: 1 of 2 held-out images"
        assert seen["cleared"] == ""
