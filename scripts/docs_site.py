"""Hooks of mkdocs.yml: pages are written for GitHub, and the site shows them the same.

The READMEs are its front pages. Nothing here is needed to read docs/ where the repository lies.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FRONT = {"index.md": "README.md", "zh/index.md": "README_CN.md"}
# A link or a picture: up to its target, the text in it, and the target.
LINK = re.compile(r"(!?\[([^]]*)\])\(([^)\s]+)\)")


def slug(title: str, separator: str) -> str:
    """GitHub's anchor of a heading, in any script; that of Python-Markdown has Latin letters only."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Give headings GitHub's anchors."""
    config["mdx_configs"]["toc"] = {"slugify": slug, "permalink": True}
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the front pages."""
    from mkdocs.structure.files import File

    for page, readme in FRONT.items():
        files.append(File.generated(config, page, content=(ROOT / readme).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to the pages of the site; of those to other files of the repository the text stays."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, name: str) -> str:
    """The text of the page `name` of the site, its links from there."""
    folder = posixpath.dirname(FRONT.get(name, f"docs/{name}"))
    site = {readme: front for front, readme in FRONT.items()}

    def written(match: re.Match) -> str:
        head, text, target = match.groups()
        if re.match(r"#|[a-z]+:", target):
            return match[0]
        file, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, file))
        if path not in site and not path.startswith("docs/"):
            return text
        path = site.get(path, path.removeprefix("docs/"))
        return f"{head}({posixpath.relpath(path, posixpath.dirname(name) or '.')}{mark}{anchor})"

    return LINK.sub(written, markdown)
