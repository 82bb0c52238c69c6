"""The table of published files: every row is whole, fits its recipe, and says what the pages say."""

from __future__ import annotations

import re

import pytest

from mspose.config.builder import default_config, load_config
from mspose.config.keys import keys_of
from mspose.config.recipes import recipes
from mspose.hub.table import DETECTOR, NETWORK, Published, found, markdown, meant, named, published
from mspose.networks import find_network, networks
from tests.conftest import ROOT
from tests.test_model_pages import PAGES, names_in, rows, text
from tests.test_readme import blocks

ENTRIES = list(published().values())
NETWORKS = [entry for entry in ENTRIES if entry.part == "network"]

each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
each_network = pytest.mark.parametrize("entry", NETWORKS, ids=lambda entry: entry.name)


@each
def test_every_row_has_source_and_licence(entry: Published) -> None:
    assert entry.publisher
    assert entry.licence
    assert entry.title
    assert entry.source.startswith("https://")
    assert entry.url == "" or entry.url.startswith("https://")
    assert entry.part in ("network", "backbone", "detector")
    assert (entry.network in networks()) == (entry.part != "detector")


@each
def test_names_are_no_paths_and_no_recipes(entry: Published) -> None:
    """What is called so in --ckpt or --config can be nothing else."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert entry.name not in recipes()
    assert "/" not in entry.file
    assert re.search(r"\.(zip|onnx|pth|pth\.tar|ckpt|safetensors)$", entry.file)


def test_no_two_share_a_name_or_a_file() -> None:
    rows = [line for line in (ROOT / "src/mspose/hub/published.yaml").read_text().splitlines() if "{name:" in line]
    assert len(rows) == len(ENTRIES)
    assert len({entry.file.lower() for entry in ENTRIES}) == len(ENTRIES)
    urls = [entry.url for entry in ENTRIES if entry.url]
    assert len(set(urls)) == len(urls)


@each
def test_digests_are_whole_or_those_in_the_name_of_a_pytorch_file(entry: Published) -> None:
    assert re.fullmatch(r"([0-9a-f]{64}|[0-9a-f]{8}|)", entry.sha256)
    if len(entry.sha256) == 8:
        assert re.search(rf"-{entry.sha256}(_\d{{8}})?\.pth$", entry.file)
    assert not (entry.file.endswith(".zip") and entry.sha256)  # the hash in its name is another file's


@each_network
def test_a_network_fits_its_recipe(entry: Published) -> None:
    config = load_config(recipes()[entry.recipe], entry.keys)
    assert config.model.name == entry.network
    size = re.search(r"(256|384)[x_](192|288)", entry.file)
    assert size is None or config.data.input_size == [int(size[2]), int(size[1])]
    assert entry.name.endswith("-384") == (config.data.input_size == [288, 384])
    assert set(entry.keys) <= set(keys_of(find_network(entry.network).schema))
    assert entry.ap
    assert entry.measured


def test_those_of_the_demo_are_there_and_need_no_mindspore() -> None:
    assert published()[NETWORK].part == "network"
    assert published()[DETECTOR].part == "detector"
    assert not published()[NETWORK].needs_mindspore
    assert not published()[DETECTOR].needs_mindspore


# ---- the pages


@pytest.mark.parametrize("page", PAGES)
def test_files_of_a_page_are_in_the_table(page: str) -> None:
    """Those with an address, with the same recipe, hash and AP."""
    by_url = {entry.url: entry for entry in NETWORKS if entry.url}
    for row in rows(page, "Published weights"):
        link = re.search(r"\]\((https://[^)]+\.(?:pth|zip|ckpt|safetensors))\)", row["file"])
        if not link:
            continue
        entry = by_url[link[1]]
        assert entry.network == page
        assert names_in(row["recipe"])[0] == entry.recipe
        assert row.get("hash", "–") in (entry.sha256[:8], "–")
        assert row["AP"].startswith(f"{entry.ap:.1f}")


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_table_are_on_the_page(page: str) -> None:
    for entry in ENTRIES:
        if entry.network == page and entry.part == "network" and "rtmpose-x" not in entry.name:
            row = [
                row
                for row in rows(page, "Published weights")
                if names_in(row["recipe"])[0] == entry.recipe and row["AP"].startswith(f"{entry.ap:.1f}")
            ]
            assert row, entry.name


def test_detectors_of_the_page_are_in_the_table() -> None:
    listed = re.findall(r"\| \[`(yolox_[^`]+)`\]\(([^)]+)\) \| [^|]+ \| ([\d.]+) \|", text("rtmpose"))
    own = {(entry.file, entry.url, f"{entry.ap:.1f}") for entry in ENTRIES if entry.part == "detector"}
    assert len(listed) == 6
    assert set(listed) <= own


def test_every_address_of_a_file_on_the_pages_is_in_the_table() -> None:
    known = {entry.url for entry in ENTRIES} | {entry.source for entry in ENTRIES}
    for page in PAGES:
        for url in re.findall(r"\((https://[^)\s]+\.(?:pth|zip|ckpt|safetensors|onnx))\)", text(page)):
            assert url in known


def test_the_table_of_the_documents_is_this_one() -> None:
    """To write it anew: python -c 'from mspose.hub.table import markdown; print(markdown())'."""
    assert markdown() in (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")


def test_names_in_the_document_are_published() -> None:
    document = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    code = " ".join(blocks(document))
    given = re.findall(
        r"(?:--network|--ckpt|--src|model\.pretrained=|PoseEstimator\(\"|models where|models download) ?([\w-]+)", code
    )
    assert len(given) >= 6
    assert set(given) <= set(published())


# ---- names


def test_a_file_of_that_name_is_the_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named("rtmpose-m") is published()["rtmpose-m"]
    (tmp_path / "rtmpose-m").touch()
    assert named("rtmpose-m") is None


@pytest.mark.parametrize("value", ["", "rtmpose-m.onnx", "./rtmpose-m", "rtmpose_m", "nothing", "\0", 5])
def test_other_values_name_none(value: object) -> None:
    assert named(value) is None


def test_a_near_name_is_suggested() -> None:
    assert "rtmpose-m" in meant("rtmpose_m")
    assert "mspose models" in meant("zzz")
    assert meant("some/where.ckpt") == ""
    assert meant("best.ckpt") == ""


def test_rows_are_found_by_pattern_and_words() -> None:
    assert [entry.name for entry in found("vitpose-?-simple")] == [f"vitpose-{s}-simple" for s in "sblh"]
    assert [entry.name for entry in found(words=["MINDPOSE", "hrnet", "w48"])] == [
        "hrnet-w48-mindpose",
        "hrnet-w48-udp-mindpose",
    ]
    assert found("nothing*") == []


def test_the_defaults_fetch_as_published() -> None:
    runtime = default_config().runtime
    assert not runtime.offline
    assert runtime.mirror == []
