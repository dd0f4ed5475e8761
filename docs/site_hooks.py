"""Hooks of MkDocs: pages that lie outside of docs/ are pages of the site, and so are notebooks.

Links stay those that work in the checkout; here they are turned to where the pages lie in the site.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md")
_OUTSIDE = (
    *_BESIDE,
    *("experiments/*/*.md", "experiments/*/*.png"),
    *("benchmarks/results/*.png", "benchmarks/results/*.json"),
)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies beside docs/, under the path that it has in the checkout."""
    for pattern in _OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        name = notebook.relative_to(ROOT / "docs").as_posix()
        known = files.get_file_from_path(name)
        if known is not None:
            files.remove(known)
        files.append(File.generated(config, f"{name[:-6]}.md", content=from_notebook(notebook)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name notebooks by the pages that they become."""
    config.nav = json.loads(json.dumps(config.nav).replace(".ipynb", ".md"))
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the checkout into links of the site; leave code alone."""
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: _turned(link, page, files), one) for one in parts[::2]]
    return "".join(parts)


def _turned(link: re.Match[str], page: Page, files: Files) -> str:
    """Return a link of the checkout as one of the site; its text where the site lacks the file."""
    picture, text, target, anchor = link.groups(default="")
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    there = posixpath.normpath(posixpath.join(posixpath.dirname(_in_checkout(page)), target))
    name = re.sub(r"\.ipynb$", ".md", there.removeprefix("docs/"))
    if files.get_file_from_path(name) is None:
        # What is in the checkout alone has no page; anything else is an error that MkDocs tells.
        return text if (ROOT / there).exists() else link[0]
    relative = posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")
    return f"{picture}[{text}]({relative}{anchor})"


def _in_checkout(page: Page) -> str:
    name = str(page.file.src_uri)
    return name if name in _BESIDE or name.startswith("experiments/") else f"docs/{name}"


def from_notebook(path: Path) -> str:
    """Return a notebook as Markdown: texts, code, and what the cells showed when they were run."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [shown for output in cell["outputs"] if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        encoded = "".join(data["image/png"]).strip()
        return f'<img alt="what the cell draws" src="data:image/png;base64,{encoded}"/>'
    if "text/html" in data:
        html = "".join(data["text/html"])
        return re.sub(r"\n\s*\n", "\n", re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL))
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
