"""Hooks of mkdocs.yml: pages are written for GitHub, and the site shows them the same.

Nothing of it is needed to read docs/ where the repository lies.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

# A link, but no picture: its text, and what it leads to.
LINK = re.compile(r"(?<!!)\[([^]]*)\]\(([^)\s]+)\)")


def slug(title: str, separator: str) -> str:
    """GitHub's anchor of a heading, in any script; that of Python-Markdown has Latin letters only."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Give headings GitHub's anchors."""
    config["mdx_configs"]["toc"] = {"slugify": slug, "permalink": True}
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave the text of links to files outside docs/, which are not part of the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def written(match: re.Match) -> str:
        if re.match(r"#|[a-z]+:", match[2]):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, match[2].partition("#")[0]))
        return match[1] if path.startswith("..") else match[0]

    return LINK.sub(written, markdown)
