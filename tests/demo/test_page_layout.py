"""What the page's controls set off, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspose.demo.page import Page
from tests.demo.test_sources import picture
from tests.fake_network import Sliced, config_with, install

pytest.importorskip("gradio", reason="the page needs gradio")

from mspose.demo.page_layout import Handlers, failed, said
from mspose.errors import PoseError


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "home"))
    install(monkeypatch, Sliced())
    return Handlers(Page(config_with(tmp_path), tmp_path), 30.0)


def test_a_word_while_a_network_is_fetched(handlers: Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PoseError("the server is not there")

    monkeypatch.setattr("mspose.resolve.obtain", refused)
    lines = [line for _, line in handlers.find(str(picture(tmp_path / "a.png")), "rtmpose-m", "given")]
    assert "Fetching rtmpose-m" in lines[0]
    assert lines[1] == '<p class="said error">the server is not there</p>'


def test_names_of_files_are_no_html() -> None:
    assert "<img" not in said("<img src=x>.png")
    assert "<img" not in failed(PoseError("truncated: /up/<img>.png"), "/up/<img>.png")


def test_where_an_upload_lies_is_not_told(handlers: Handlers, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    *_, (found, line) = handlers.find(str(tmp_path / "text.jpg"), f"{tmp_path.name}/net.ckpt", "whole")
    assert found is None
    assert "text.jpg" in line
    assert str(tmp_path) not in line
