"""The documentation site: it has every page, asks no other server for anything, and builds without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from scripts import docs_site
from tests.conftest import ROOT


@cache
def settings() -> dict:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def pages(nav: object) -> Iterator[str]:
    """Files in the order of the navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:  # type: ignore[attr-defined]
            yield from pages(item)


def test_every_page_is_in_the_navigation_once() -> None:
    there = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(pages(settings()["nav"])) == sorted([*there, *docs_site.FRONT])


def test_links_lead_to_pages_of_the_site() -> None:
    text = "[a](docs/api.md#x) ![b](docs/demo.jpg) [c](README_CN.md) [d](LICENSE) [e](https://x.y) [f](#g)"
    expected = "[a](api.md#x) ![b](demo.jpg) [c](zh/index.md) d [e](https://x.y) [f](#g)"
    assert docs_site.relinked(text, "index.md") == expected
    text = "[a](../train.md) [b](../../README.md#networks) [c](../../src/x.py) [d](hrnet.md)"
    assert docs_site.relinked(text, "models/vitpose.md") == "[a](../train.md) [b](../index.md#networks) c [d](hrnet.md)"


def test_nothing_comes_from_other_servers() -> None:
    assert settings()["theme"]["font"] is False
    assert not {"extra", "extra_css", "extra_javascript", "site_url", "repo_url"} & set(settings())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as it is published."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs and mkdocs-material are not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_site_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert (site / "zh" / "install.html").is_file()


def test_built_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\s\">]+)", path.read_text("utf-8")
        )
        assert loaded == [], path.name
