"""Networks and detectors that the web page offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspose.demo import page_networks
from mspose.demo.page_networks import DETECTORS, GIVEN, NETWORKS, Networks, with_demo
from mspose.errors import PoseError, UsageError
from mspose.hub.cache import place_of
from mspose.hub.table import published
from tests.fake_network import BOTTOM_UP, TOP_DOWN, Sliced, config_with, install
from tests.messages import naming


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "home"))
    install(monkeypatch, Sliced())


def bottom_up(tmp_path: Path) -> str:
    (tmp_path / "other.mindir").touch()
    return f"{BOTTOM_UP}:{tmp_path / 'other.mindir'}"


def test_what_is_offered_is_published() -> None:
    assert {published()[name].part for name in NETWORKS} == {"network"}
    assert {published()[name].part for name in DETECTORS} == {"detector"}


def test_published_networks_are_offered_where_none_is_named(tmp_path: Path) -> None:
    names = Networks(config_with(tmp_path)).names
    assert names[0] == f"{tmp_path.name}/net.ckpt"
    assert {"rtmpose-t", "rtmpose-m"} <= set(names)


def test_named_networks_are_offered_alone(tmp_path: Path) -> None:
    names = Networks(config_with(tmp_path, demo__networks=[bottom_up(tmp_path), "rtmpose-s"])).names
    assert names == [f"{tmp_path.name}/net.ckpt", f"{tmp_path.name}/other.mindir", "rtmpose-s"]


def test_offline_nothing_is_offered_that_is_not_here(tmp_path: Path) -> None:
    place_of(published()["rtmpose-t"]).parent.mkdir(parents=True)
    place_of(published()["rtmpose-t"]).touch()
    networks = Networks(config_with(tmp_path, runtime__offline=True))
    assert networks.names[1:] == ["rtmpose-t"]
    assert networks.detectors == [GIVEN, "hog"]


def test_networks_for_mindspore_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise PoseError(f"{module} is missing")

    monkeypatch.setattr(page_networks, "check_installed", absent)
    assert not any(published()[name].needs_mindspore for name in Networks(config_with(tmp_path)).names[1:])


def test_a_name_says_whether_it_must_be_fetched(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path))
    assert "not fetched" in networks.label("rtmpose-m")
    assert "rtmpose-m" in networks.delay("rtmpose-m", "whole")
    assert "yolox-tiny" in networks.delay(networks.names[0], "yolox-tiny")


def test_a_loaded_network_is_no_delay_and_loaded_once(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path))
    first = networks.names[0]
    assert networks.delay(first, "hog")
    estimator = networks.get(first, "hog")
    assert networks.delay(first, "hog") == ""
    assert networks.get(first, "hog") is estimator


def test_detectors_share_the_network(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path))
    whole, hog = (networks.get(networks.names[0], detector) for detector in (GIVEN, "hog"))
    assert (whole.detector, hog.detector) == ("whole", "hog")
    assert whole._forward is hog._forward


def test_a_network_that_finds_people_itself_takes_any_detector(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path, demo__networks=[bottom_up(tmp_path)]))
    other = networks.names[1]
    assert [networks.finds_people(name) for name in networks.names] == [False, True]
    assert networks.get(other, "hog") is networks.get(other, GIVEN)


def test_what_is_not_offered_is_refused(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path, demo__networks=[bottom_up(tmp_path)]))
    with pytest.raises(PoseError, match=naming("rtmpose-m")):
        networks.get("rtmpose-m", "hog")
    with pytest.raises(PoseError, match=naming("boxes")):
        networks.get(networks.names[0], "boxes")


def test_options_are_those_that_the_network_has(tmp_path: Path) -> None:
    networks = Networks(config_with(tmp_path, demo__networks=[bottom_up(tmp_path)]))
    other = with_demo(networks.get(networks.names[1], GIVEN), track=True, detect_every=3)
    assert other.config.demo.track
    assert not hasattr(other.config.demo, "detect_every")


@pytest.mark.parametrize(
    ("entry", "error", "things"),
    [
        ("recipe.yaml", UsageError, ("demo.networks", "'recipe.yaml'", "CONFIG:CKPT")),
        ("recipe.yaml:absent.ckpt", PoseError, ("recipe.yaml",)),
        (f"{TOP_DOWN}:absent.ckpt", PoseError, ("demo.networks", "absent.ckpt")),
    ],
    ids=["form", "recipe", "checkpoint"],
)
def test_wrong_networks(tmp_path: Path, entry: str, error: type, things: tuple[str, ...]) -> None:
    with pytest.raises(error, match=naming(*things)):
        Networks(config_with(tmp_path, demo__networks=[entry]))
