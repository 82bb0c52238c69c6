"""Names of published files where a file may be given: what they stand for, and what is fetched when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mspose.create
from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.cli import Usage, parse
from mspose.commands import main as main_program
from mspose.config.builder import default_config
from mspose.demo.page import Page
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.hub.cache import place_of
from mspose.hub.command import main
from mspose.hub.table import DETECTOR, NETWORK, published
from mspose.resolve import resolve
from tests.checkpoints.mmpose_graph import pipeline, write_vectors
from tests.detection.mmdet_graph import pipeline as feed
from tests.detection.mmdet_graph import write_detector, write_zip
from tests.loopback import Server, loopback
from tests.messages import naming, tells_of

DEMO = Usage(section="demo", argument="demo.input", weights=NETWORK)


@pytest.fixture
def publishers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server in the place of all publishers, with stand-ins for the demo's two files; the cache is empty."""
    for variable in ("HF_ENDPOINT", "MSPOSE_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model = write_vectors(tmp_path / "end2end.onnx", names=("simcc_x", "simcc_y"), cell=1)
    network = write_zip(tmp_path / "n.zip", model, pipeline("SimCCLabelDecode", type="SimCCLabel", sigma=[4.9, 5.66]))
    detector = write_zip(tmp_path / "d.zip", write_detector(tmp_path / "d.onnx", (0.9, 0.8, 0.7, 0.6)), feed())
    with loopback(monkeypatch) as server:
        hosts = {entry.url.split("/")[2] for entry in published().values() if entry.url}
        monkeypatch.setenv("MSPOSE_MIRROR", ",".join(f"{host}={server.url}" for host in hosts))
        offer(server, NETWORK, network.read_bytes())
        offer(server, DETECTOR, detector.read_bytes())
        yield server


def offer(server: Server, name: str, data: bytes) -> None:
    server.files["/" + published()[name].url.split("/", 3)[3]] = data


def offer_checkpoint(server: Server, name: str, folder: Path, head: str, norm: str = "gamma") -> None:
    """An HRNet of one or two arrays, under somebody's names."""
    shapes = {"backbone.transition1.0.0.weight": (32,), "backbone.conv1.weight": (64,), f"backbone.bn1.{norm}": (1,)}
    values = {name: np.zeros(shape, np.float32) for name, shape in {**shapes, head: (1,)}.items()}
    write_ckpt(values, folder / "w.ckpt")
    offer(server, name, (folder / "w.ckpt").read_bytes())


def picture(folder: Path) -> Path:
    cv2.imwrite(str(folder / "photo.jpg"), np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8))
    return folder / "photo.jpg"


def asked(server: Server) -> list[str]:
    """File names that were asked for."""
    return [path.rpartition("/")[2] for path, _ in server.requests]


def test_weights_bring_recipe_and_conventions(publishers: Server, tmp_path: Path) -> None:
    offer_checkpoint(publishers, "hrnet-w32-udp-mindpose", tmp_path, "head.head.weight")
    config = resolve(None, {"runtime.ckpt": "hrnet-w32-udp-mindpose"})
    assert config.model.name == "hrnet"
    assert config.data.std == [0.229, 0.224, 0.255]
    assert config.data.unbiased
    assert config.codec.refine == "dark_udp_mindpose"
    assert config.runtime.ckpt == str(place_of(published()["hrnet-w32-udp-mindpose"]))
    assert config.runtime.output == "outputs/hrnet-w32-udp-mindpose"
    assert asked(publishers) == ["hrnet_w32_udp_256_192.ckpt"]  # an evaluation needs no detector


def test_a_recipe_that_is_given_counts(publishers: Server, tmp_path: Path) -> None:
    offer_checkpoint(publishers, "hrnet-w32-mindpose", tmp_path, "head.head.weight")
    config = resolve("hrnet_w32_384x288", {"runtime.ckpt": "hrnet-w32-mindpose"})
    assert config.data.input_size == [288, 384]
    assert config.runtime.output == "outputs/hrnet_w32_384x288"


def test_a_recipe_of_another_network_is_refused_before_anything_is_fetched(publishers: Server) -> None:
    with pytest.raises(UsageError, match=naming("hrnet-w32", "hrnet", "simplepose")):
        resolve("simplepose_r50_256x192", {"runtime.ckpt": "hrnet-w32"})
    assert publishers.requests == []


def test_a_wrong_key_is_refused_before_anything_is_fetched(publishers: Server) -> None:
    with pytest.raises(UsageError, match=naming("'eval.typo'")):
        parse(["--network", "rtmpose-m", "eval.typo=1"], DEMO)
    assert publishers.requests == []


def test_keys_of_the_network_are_known_before_it_is_there(publishers: Server) -> None:
    """An ONNX file needs no recipe, but its network's keys are those of the table."""
    assert parse(["--ckpt", "rtmpose-m", "codec.split=2"]).codec.split == 2


def test_a_name_in_the_place_of_a_recipe(publishers: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = resolve("rtmpose-m", {})
    assert (config.model.name, config.data.input_size) == ("rtmpose", [64, 96])  # as the stand-in says
    assert "data.input_size" not in caplog.text  # and no recipe says otherwise
    offer_checkpoint(publishers, "hrnet-w32-mindpose", tmp_path, "head.head.weight")
    other = resolve("hrnet-w48-mindpose", {"runtime.ckpt": str(tmp_path / "w.ckpt")})
    assert other.runtime.ckpt == str(tmp_path / "w.ckpt")
    assert other.runtime.output == "outputs/hrnet_w48_256x192"


@pytest.mark.parametrize(
    ("key", "name", "its_own"),
    [
        ("runtime.ckpt", "yolox-tiny", "demo.detector_file=yolox-tiny"),
        ("runtime.ckpt", "resnet50", "model.pretrained=resnet50"),
        ("demo.detector_file", "rtmpose-m", "--ckpt rtmpose-m"),
    ],
)
def test_a_name_of_another_part_says_where_it_belongs(publishers: Server, key: str, name: str, its_own: str) -> None:
    with pytest.raises(UsageError, match=naming(key, its_own)):
        resolve("simplepose_r50_256x192", {key: name}, section="demo")
    assert publishers.requests == []


def test_a_wrong_name_is_told_from_a_missing_file(publishers: Server) -> None:
    with pytest.raises(UsageError, match=naming("rtmpose-mm", "rtmpose-m")):
        resolve(None, {"runtime.ckpt": "rtmpose-mm"})


def test_training_fetches_its_start(publishers: Server, tmp_path: Path) -> None:
    offer_checkpoint(publishers, "hrnet-w32-mindcv", tmp_path, "classifier.weight")
    offer_checkpoint(publishers, "hrnet-w32-mindpose", tmp_path, "head.head.weight")
    keys = {"model.pretrained": "hrnet-w32-mindcv", "train.init_from": "hrnet-w32-mindpose"}
    config = resolve("hrnet_w32_256x192", keys, section="train")
    assert config.model.pretrained == str(place_of(published()["hrnet-w32-mindcv"]))
    assert config.train.init_from == str(place_of(published()["hrnet-w32-mindpose"]))
    assert config.data.std == [0.229, 0.224, 0.255]
    assert resolve("hrnet_w32_256x192", {"model.pretrained": "hrnet-w48-mindcv"}, section="eval")
    assert len(publishers.requests) == 2


def test_detection_of_a_data_set_fetches_its_detector(publishers: Server) -> None:
    config = resolve("simplepose_r50_256x192", {"demo.detector_file": "yolox-tiny"}, section="demo")
    assert config.demo.detector_file == str(place_of(published()["yolox-tiny"]))
    assert asked(publishers) == [published()["yolox-tiny"].file]


def test_a_network_that_finds_people_itself_gets_no_detector(
    publishers: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("model0.conv1_1.weight", "model0.conv4_3_CPM.weight", "model0.conv4_4_CPM.weight")
    write_ckpt({name: np.zeros((8, 3, 3, 3), np.float32) for name in names}, tmp_path / "w.ckpt")
    offer(publishers, "openpose-body", (tmp_path / "w.ckpt").read_bytes())
    monkeypatch.setitem(published(), "openpose-body", replace(published()["openpose-body"], sha256="", size=None))
    config = resolve("openpose-body", {}, section="demo")
    assert config.model.name == "openpose"
    assert asked(publishers) == ["body_pose_model.pth"]


# ---- the demo


def test_the_demo_needs_nothing_but_a_picture(publishers: Server, tmp_path: Path) -> None:
    config = parse(["photo.jpg"], DEMO)
    assert config.demo.input == ["photo.jpg"]
    assert config.runtime.ckpt == str(place_of(published()[NETWORK]))
    assert config.demo.detector_file == str(place_of(published()[DETECTOR]))
    parse(["other.jpg"], DEMO)
    assert asked(publishers) == [published()[NETWORK].file, published()[DETECTOR].file]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["demo.detector=hog"], "hog"),
        (["demo.detector=whole"], "whole"),
        (["demo.detector=auto"], "auto"),
    ],
)
def test_a_detector_that_is_given_counts(publishers: Server, given: list[str], expected: str) -> None:
    config = parse(["photo.jpg", *given], DEMO)
    assert config.demo.detector == expected
    assert (config.demo.detector_file == "") == (expected != "auto")


def test_weights_of_ones_own_get_no_detector(publishers: Server, tmp_path: Path) -> None:
    config = parse(["photo.jpg", "--ckpt", str(tmp_path / "n.zip")], DEMO)
    assert config.demo.detector_file == ""
    assert publishers.requests == []


def test_offline_names_both_files(publishers: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPOSE_OFFLINE", "1")
    with pytest.raises(PoseError, match=naming(published()[NETWORK].url, published()[DETECTOR].url)):
        parse(["photo.jpg"], DEMO)


NOTHING = {"demo": ["nowhere.jpg"], "eval": ["data.root=nowhere"], "prepare": ["data.root=nowhere"]}


@pytest.mark.parametrize("command", NOTHING)
def test_what_a_command_works_on_is_looked_for_before_anything_is_fetched(
    publishers: Server, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_program([command, *NOTHING[command], "--ckpt", "rtmpose-m"]) > 0
    assert tells_of(capsys.readouterr().err, "error", "nowhere")
    assert publishers.requests == []


def test_data_are_looked_for_before_a_backbone_is_fetched(
    publishers: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = ["--config", "simplepose_r50_256x192", "model.pretrained=resnet50"]
    assert main_program(["train", *pretrained, "data.root=nowhere"]) == 1
    assert tells_of(capsys.readouterr().err, "error", "nowhere")
    assert publishers.requests == []


@pytest.mark.parametrize("command", ["demo", "eval", "export"])
def test_checkpoints_are_not_fetched_where_mindspore_is_absent(
    publishers: Server, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)
    photo, data = ["photo.jpg"] * (command == "demo"), [] if command == "demo" else ["data.root=nowhere"]
    assert main_program([command, *photo, "--ckpt", "hrnet-w32-udp", *data]) == 1
    assert tells_of(capsys.readouterr().err, "error", "mindspore")
    assert publishers.requests == []


def test_what_mindspore_would_run_is_refused_without_it(publishers: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(PoseError, match=naming("mindspore", "mspose[train]")):
        parse(["photo.jpg", "--network", "vitpose-b"], DEMO)
    assert publishers.requests == []


def test_arguments_without_a_name(publishers: Server) -> None:
    assert parse(["2017", "runtime.seed=3", "a, b.jpg"], DEMO).demo.input == ["2017", "a, b.jpg"]
    with pytest.raises(UsageError, match=naming("demo.input", "'b.jpg'")):
        parse(["--input", "a.jpg", "b.jpg"], DEMO)
    with pytest.raises(UsageError, match=naming("''")):
        parse([""], DEMO)
    with pytest.raises(UsageError, match=naming("'a.jpg'")):
        parse(["a.jpg"], Usage(section="eval"))


def test_the_command_draws_the_picture(publishers: Server, tmp_path: Path) -> None:
    """The whole of it, in a process where MindSpore cannot be imported."""
    picture(tmp_path)
    code = "import sys; sys.modules['mindspore'] = None; from mspose.commands import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "photo.jpg"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    drawn = f"outputs/{NETWORK}/pictures/photo.jpg"
    assert f"drawn: {drawn}" in done.stdout
    assert cv2.imread(drawn).shape == (96, 128, 3)
    assert json.loads(Path(f"outputs/{NETWORK}/predictions.json").read_text())


def test_the_demo_without_a_picture_serves_the_page(publishers: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from mspose.demo.run import demo

    served = list[str]()
    monkeypatch.setattr("mspose.demo.run.check_installed", lambda module: None)
    monkeypatch.setattr("mspose.demo.page_serve.serve", lambda config: served.append(config.runtime.ckpt))
    demo(parse([], DEMO))
    assert served == [str(place_of(published()[NETWORK]))]


def test_without_gradio_the_demo_says_that_it_wants_a_picture(
    publishers: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mspose.demo.run import demo

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(PoseError, match=naming("gradio", "mspose[page]", "--input")):
        demo(parse([], DEMO))


# ---- the Python API, the page, other commands


def test_the_estimator_takes_a_name(publishers: Server, tmp_path: Path) -> None:
    estimator = PoseEstimator("rtmpose-m", overrides={"demo.person_threshold": 0.0})
    assert estimator.detector == "onnx"
    people = estimator(str(picture(tmp_path)))
    assert people.keypoints.shape[1:] == (17, 2)
    assert len(people) > 0


def test_the_page_offers_published_networks(publishers: Server, tmp_path: Path) -> None:
    config = parse(["demo.networks=[rtmpose-s]"], DEMO)
    offer(publishers, "rtmpose-s", (tmp_path / "n.zip").read_bytes())
    page = Page(config, tmp_path)
    assert page.networks.names == ["rtmpose-m", "rtmpose-s"]
    page.networks.get("rtmpose-s", "whole")
    assert asked(publishers)[-1] == published()["rtmpose-s"].file
    with pytest.raises(UsageError, match=naming("demo.networks", "rtmpose-q")):
        Page(parse(["demo.networks=[rtmpose-q]"], DEMO), tmp_path)


def test_create_model_takes_names(publishers: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoseError, match=naming("rtmpose-mm", "rtmpose-m")):
        mspose.create.create_model("simplepose", ckpt="rtmpose-mm")
    with pytest.raises(UsageError, match=naming("yolox-tiny", "demo.detector_file=yolox-tiny")):
        mspose.create.create_model("simplepose", ckpt="yolox-tiny")


def test_conversion_takes_a_name(publishers: Server, tmp_path: Path) -> None:
    from mspose.checkpoints.convert import main as convert

    assert convert(["--src", "rtmpose-m", "--dst", str(tmp_path / "kept.onnx"), "--to", "onnx"]) == 0
    assert (tmp_path / "kept.onnx.json").is_file()


def test_hashes_in_names_are_asked_for(publishers: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(publishers, "hrnet-w32", b"another file")
    with pytest.raises(PoseError, match=naming("SHA-256", published()["hrnet-w32"].url)):
        resolve(None, {"runtime.ckpt": "hrnet-w32"})
    monkeypatch.setitem(published(), "hrnet-w32", replace(published()["hrnet-w32"], sha256=""))
    with pytest.raises(PoseError, match=naming(place_of(published()["hrnet-w32"]))):
        resolve(None, {"runtime.ckpt": "hrnet-w32"})  # now it is fetched, and is no file of weights


# ---- mspose models


def test_download_and_where(publishers: Server, capsys: pytest.CaptureFixture) -> None:
    place = str(place_of(published()["yolox-tiny"]))
    assert main(["where", "yolox-tiny"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [place]
    assert tells_of(err, "yolox-tiny")
    assert main(["download", "yolox-tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == place
    assert main(["where", "yolox-tiny"]) == 0
    assert main(["where"]) == 0
    assert os.path.dirname(place) in capsys.readouterr().out


def test_download_from_a_mirror(
    publishers: Server, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MSPOSE_MIRROR")
    assert main(["download", "yolox-tiny", "--mirror", f"download.openmmlab.com={publishers.url}"]) == 0
    assert main(["download", "yolox-s", "--mirror", "download.openmmlab.com"]) == 2


def test_lists(publishers: Server, capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    all_of_them = capsys.readouterr().out
    assert all(f"  {name} " in all_of_them for name in published())
    assert main(["list", "yolox-*-coco"]) == 0
    assert "rtmpose" not in capsys.readouterr().out
    assert main(["search", "alphapose", "duc"]) == 0
    out = capsys.readouterr().out
    assert "fastpose-duc-r152-alphapose" in out
    assert published()["fastpose-duc-r152-alphapose"].source in out
    assert main(["list", "nothing"]) == 1


def test_an_unknown_name_suggests_one(publishers: Server, capsys: pytest.CaptureFixture) -> None:
    assert main(["download", "rtmpose_m"]) == 2
    assert tells_of(capsys.readouterr().err, "'rtmpose_m'", "rtmpose-m")


def test_a_configuration_with_a_name_is_whole(publishers: Server) -> None:
    """As Python makes one; what it names is fetched, and nothing is looked for beside it."""
    config = default_config("rtmpose", {"runtime.ckpt": "rtmpose-m", "runtime.output": "out"})
    assert resolve(config, {}).runtime.ckpt == str(place_of(published()["rtmpose-m"]))
