"""The page of a report in a browser: it fits a telephone and a desk, and asks for no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep

from hyperspec.report.load import load_sweep
from hyperspec.report.output import write_report

WIDTHS = (400, 1400)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# A page of the same origin may look into its frames.
MEASURE = """<!DOCTYPE html><body><script>
onload = () => {
  const lines = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const pictures = [...page.querySelectorAll("figure svg")].map(s => s.getBoundingClientRect());
    const letters = [...page.querySelectorAll("figure svg text")]
      .map(t => t.getBoundingClientRect().height);
    return [frame.width, root.scrollWidth, Math.max(...pictures.map(p => p.right)),
            pictures.length, Math.min(...letters)].join(" ");
  });
  document.body.textContent = "measured: " + lines.join("; ") + ".";
};
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_fits_narrow_and_wide_screens(fake_sweep: FakeSweep, tmp_path: Path) -> None:
    strategies = ["uniform", "random", *(f"a_long_name_of_a_strategy_{i}" for i in range(8))]
    for place, strategy in enumerate(strategies):
        for n in (5, 200):
            fake_sweep.job(strategy, n, knn=0.3 + 0.05 * place + n / 2000)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    page = write_report(data, tmp_path / "report").html.read_text()
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(page)}"></iframe>'
        for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(MEASURE + frames)
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--user-data-dir={tmp_path}/profile", "--window-size=2000,1000"]
    # No address resolves: what the page might ask for would fail.
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", f"file://{tmp_path}/frames.html"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True)
    found = re.search(r"measured: ([\d. ;]+)\.</body>", done.stdout)
    assert found is not None, done.stdout[-2000:] + done.stderr[-2000:]
    for line, expected in zip(found[1].split("; "), WIDTHS, strict=True):
        width, scrolled, right, pictures, letters = (float(word) for word in line.split())
        assert width == expected
        assert scrolled <= width  # nothing to scroll sideways
        assert right <= width
        assert pictures >= 4
        assert letters >= 7  # pixels
