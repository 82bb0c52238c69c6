"""The command line: flags, precedence, notes about conflicts, exit codes and one-line errors."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.runs import COUNTERS
from mspose.cli import Usage, parse, run, split_arguments
from mspose.commands import main
from mspose.config.builder import load_config
from mspose.config.describe import all_keys
from mspose.config.schema import FLAGS, PATHS, Config, get
from mspose.errors import PoseError, UsageError
from mspose.skeleton import load_skeleton
from tests.conftest import ROOT
from tests.messages import naming, tells_of

SAMPLE_VALUES = {
    "runtime.device": "CPU",
    "runtime.device_id": "3",
    "modelarts.enable": "true",
    "demo.serve": "true",
}


@pytest.fixture(autouse=True)
def _logger():
    """Leave the logger as it was: `run` points it at the standard output of the moment."""
    log = logging.getLogger("pose")
    kept = log.handlers[:], log.propagate, log.level
    yield
    log.handlers, log.propagate = kept[:2]
    log.setLevel(kept[2])


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text("base: base.yaml\ntrain: {epochs: 30}\ndata: {mean: [0.3, 0.3, 0.3]}\n")
    (tmp_path / "base.yaml").write_text("train: {epochs: 20, keep: 2}\n")
    return str(path)


def script(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run an entry script the way a user does, recording what it imports."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-X", "importtime", name, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported(result: subprocess.CompletedProcess) -> set[str]:
    """Top-level modules that a script has imported."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def messages(result: subprocess.CompletedProcess) -> list[str]:
    """Standard error without Python's own record of imports."""
    return [line for line in result.stderr.splitlines() if not line.startswith("import time:")]


class TestFlags:
    @pytest.mark.parametrize("form", ["--{flag}|{value}", "--{flag}={value}", "{flag}={value}", "--{dashed}|{value}"])
    @pytest.mark.parametrize("flag", FLAGS)
    def test_flag_stands_for_its_key(self, flag, form):
        text = SAMPLE_VALUES.get(FLAGS[flag], "some/where")
        arguments = form.format(flag=flag, dashed=flag.replace("_", "-"), value=text).split("|")
        assert split_arguments(arguments) == ("", {FLAGS[flag]: text})

    def test_flags_are_keys_of_the_schema(self):
        assert set(FLAGS.values()) <= set(all_keys())

    @pytest.mark.parametrize("flag", ["ckpt", "ckpt_url", "device_target", "device_id", "output"])
    def test_flags_of_the_original_systems(self, flag):
        assert flag in FLAGS

    @pytest.mark.parametrize("arguments", [["--config", "a.yaml"], ["--config=a.yaml"]])
    def test_config(self, arguments):
        assert split_arguments(arguments) == ("a.yaml", {})

    @pytest.mark.parametrize(
        ("arguments", "value"),
        [
            (["--serve"], "true"),
            (["--serve", "train.lr=1"], "true"),
            (["--serve", "False"], "False"),
            (["--serve=false"], "false"),
            (["--serve", "--input", "a"], "true"),
        ],
    )
    def test_switch_needs_no_value(self, arguments, value):
        assert split_arguments(arguments)[1]["demo.serve"] == value

    def test_the_last_one_counts(self):
        assert split_arguments(["train.lr=1", "train.lr=2"]) == ("", {"train.lr": "2"})

    def test_a_path_with_an_equals_sign(self):
        assert split_arguments(["--output", "runs/lr=1"]) == ("", {"runtime.output": "runs/lr=1"})
        assert split_arguments(["output=runs/lr=1"]) == ("", {"runtime.output": "runs/lr=1"})

    def test_names_that_look_like_numbers_stay_text(self):
        overrides = split_arguments(["data.train_set=2017", "output=1e5", "data.val_set=007"])[1]
        assert overrides == {"data.train_set": "2017", "runtime.output": "1e5", "data.val_set": "007"}

    def test_empty_value_of_a_path(self):
        assert split_arguments(["eval.bbox_file="]) == ("", {"eval.bbox_file": ""})

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--nope", "1"], ("--nope", "--config")),
            (["--output"], ("--output", "value")),
            (["--output", "--debug"], ("--output", "value")),
            (["stray"], ("'stray'",)),
            ([""], ("''",)),
            (["--imgpath_train", "x"], ("--imgpath_train", "OpenPose", "data.train_images")),
        ],
    )
    def test_misuse(self, arguments, named):
        with pytest.raises(UsageError) as caught:
            split_arguments(arguments)
        assert tells_of(str(caught.value), *named)

    @pytest.mark.parametrize("arguments", [["demo.track", "true"], ["demo.track", "=", "true"], ["track", "true"]])
    @pytest.mark.parametrize("argument", ["demo.input", ""])
    def test_a_key_without_equals(self, argument, arguments):
        """It is no picture of that name, and an empty key is not the mistake."""
        with pytest.raises(UsageError) as caught:
            split_arguments(arguments, Usage(section="demo", argument=argument))
        assert tells_of(str(caught.value), f"'{arguments[0]}'", "demo.track=VALUE")

    def test_a_file_that_is_called_like_a_key(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("demo.track").write_bytes(b"")
        _, overrides = split_arguments(["demo.track"], Usage(section="demo", argument="demo.input"))
        assert overrides == {"demo.input": ["demo.track"]}


def test_a_picture_without_a_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "my photo.jpg"
    path.write_bytes(b"")
    assert main([str(path)]) == 2
    assert tells_of(capsys.readouterr().err, f"mspose demo '{path}'")


# Sizes of training, as they lie beside a checkpoint.
SMALL = "data: {input_size: [96, 128]}\ncodec: {heatmap_size: [24, 32], sigma: 1.0}"


class TestPrecedence:
    def checkpoint(self, tmp_path: Path, text: str) -> str:
        (tmp_path / "w.yaml").write_text(text)
        return str(tmp_path / "w.ckpt")

    def run(self, *arguments: str) -> Config:
        configs: list[Config] = []
        assert run(Usage("Test."), configs.append, arguments) == 0
        return configs[0]

    def test_default_base_file_checkpoint_command_line(self, recipe, tmp_path, capsys):
        ckpt = self.checkpoint(tmp_path, "data: {mean: [0.4, 0.4, 0.4], std: [1, 1, 1], color: rgb}")
        config = self.run("--config", recipe, "--ckpt", ckpt, "data.std=[2,2,2]")
        assert config.train.batch_size == 64  # schema
        assert config.train.keep == 2  # base
        assert config.train.epochs == 30  # file over base
        assert config.data.mean == [0.4] * 3  # checkpoint over file
        assert config.data.color == "rgb"  # checkpoint over schema
        assert config.data.std == [2.0] * 3  # command line over checkpoint
        conventions = tmp_path / "w.yaml"
        assert capsys.readouterr().out.splitlines() == [
            f"note: data.mean=[0.4, 0.4, 0.4] from {conventions} overrides [0.3, 0.3, 0.3] of the configuration",
            f"note: data.std=[2.0, 2.0, 2.0] (command line) overrides [1.0, 1.0, 1.0] stored in {conventions}",
        ]

    def test_agreement_is_not_worth_a_note(self, recipe, tmp_path, capsys):
        ckpt = self.checkpoint(tmp_path, "data: {mean: [0.3, 0.3, 0.3], color: rgb}")
        self.run("--config", recipe, f"--ckpt={ckpt}", "data.color=rgb", "train.epochs=5")
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(("sigma", "notes"), [(0.1, 0), (0.2, 1)])
    def test_one_skeleton_in_two_files_is_agreement(self, tmp_path, capsys, sigma, notes):
        """What lies beside the weights of a run holds its skeleton, which is the recipe's unless that was changed."""
        keys = "{name: two, keypoints: [a, b], limbs: [[a, b]], flip_pairs: [], sigmas: [0.1, %s]}"
        (tmp_path / "skeleton.yaml").write_text(keys % sigma)
        (tmp_path / "mine.yaml").write_text("base: simplepose_r18_256x192\ndata: {skeleton: skeleton.yaml}")
        ckpt = self.checkpoint(
            tmp_path, f"format: 2\nweights: {{}}\nskeleton: {keys % 0.1}\ndata: {{skeleton: s.yaml}}"
        )
        self.run("--config", str(tmp_path / "mine.yaml"), "--ckpt", ckpt)
        assert capsys.readouterr().out.count("data.skeleton=") == notes

    @pytest.mark.parametrize("name", ["rtmposem", "RTMPose_M"])
    def test_a_name_that_is_nearly_a_published_one(self, name):
        with pytest.raises(UsageError) as caught:
            parse(["--config", name])
        assert tells_of(str(caught.value), name, "the published rtmpose-m")

    @pytest.mark.parametrize(
        "arguments", [["--config", "FILE"], ["--config", "simplepose_r18_256x192", "data.skeleton=FILE"]]
    )
    def test_a_video_instead_of_a_text(self, tmp_path, arguments):
        path = tmp_path / "v.yaml"
        path.write_bytes(b"\0\0\0\x1cftypisom\xb3\xff")
        with pytest.raises(UsageError) as caught:
            load_skeleton(parse([a.replace("FILE", str(path)) for a in arguments]).data.skeleton)
        assert tells_of(str(caught.value), str(path), "not text in UTF-8")
        assert "codec" not in str(caught.value)

    def test_checkpoint_named_in_the_file(self, tmp_path):
        ckpt = self.checkpoint(tmp_path, "data: {color: rgb}")
        (tmp_path / "c.yaml").write_text(f"runtime: {{ckpt: '{ckpt}'}}")
        assert parse(["--config", str(tmp_path / "c.yaml")]).data.color == "rgb"

    def test_checkpoint_to_start_from(self, recipe, tmp_path):
        ckpt = self.checkpoint(tmp_path, "data: {color: rgb}")
        assert parse(["--config", recipe, f"train.init_from={ckpt}"]).data.color == "rgb"

    @pytest.mark.parametrize("arguments", [["--ckpt", "CKPT"], ["train.resume=CKPT", "train.init_from=CKPT"]])
    def test_sizes_follow_a_checkpoint_that_is_evaluated_or_resumed(self, recipe, tmp_path, arguments, capsys):
        ckpt = self.checkpoint(tmp_path, SMALL)
        config = parse(["--config", recipe, *(argument.replace("CKPT", ckpt) for argument in arguments)])
        assert (config.data.input_size, config.codec.heatmap_size, config.codec.sigma) == ([96, 128], [24, 32], 1.0)

    @pytest.mark.parametrize(
        ("network", "stored", "arguments"),
        [
            ("simplepose", SMALL, ["train.init_from=CKPT"]),  # a new run has its own size
            ("simplepose", "data: {input_size: [96, 128]}", ["--ckpt=CKPT"]),  # somebody's recipe
        ],
    )
    def test_sizes_do_not_follow(self, tmp_path, network, stored, arguments):
        ckpt = self.checkpoint(tmp_path, stored)
        (tmp_path / "c.yaml").write_text(f"model: {{name: {network}}}")
        config = parse(["--config", str(tmp_path / "c.yaml"), *(a.replace("CKPT", ckpt) for a in arguments)])
        assert (config.data.input_size, config.codec.heatmap_size, config.codec.sigma) == ([192, 256], [48, 64], 2.0)

    def test_the_command_line_decides_on_the_size(self, recipe, tmp_path):
        ckpt = self.checkpoint(tmp_path, SMALL)
        config = parse(["--config", recipe, f"--ckpt={ckpt}", "data.input_size=[288,384]"])
        assert (config.data.input_size, config.codec.heatmap_size) == ([288, 384], [72, 96])

    def test_only_conventions_are_taken_from_beside_a_checkpoint(self, recipe, tmp_path):
        ckpt = self.checkpoint(tmp_path, "source: elsewhere\ndata: {color: rgb}")
        assert parse(["--config", recipe, "--ckpt", ckpt]).data.color == "rgb"
        ckpt = self.checkpoint(tmp_path, "source: elsewhere\ndata: {color: rgb, root: nowhere}")
        with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "data.root")):
            parse(["--config", recipe, "--ckpt", ckpt])

    def test_wrong_convention_names_its_file(self, recipe, tmp_path):
        ckpt = self.checkpoint(tmp_path, "data: {color: cmyk}")
        with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "data.color", "bgr", "rgb", "cmyk")):
            parse(["--config", recipe, "--ckpt", ckpt])

    @pytest.mark.parametrize("text", ["data: 5", "data:", "[1]", "data: [color]"])
    def test_something_else_beside_a_checkpoint(self, recipe, tmp_path, text):
        ckpt = self.checkpoint(tmp_path, text)
        if text != "data:":
            with pytest.raises(UsageError, match=naming(tmp_path / "w.yaml", "mapping")):
                parse(["--config", recipe, "--ckpt", ckpt])
        else:
            assert parse(["--config", recipe, "--ckpt", ckpt]).data.color == "bgr"

    @pytest.mark.parametrize("ckpt", [".", "/", "..", "absent/w.ckpt"])
    def test_no_conventions_beside_a_checkpoint(self, recipe, ckpt):
        assert parse(["--config", recipe, "--ckpt", ckpt]).runtime.ckpt == ckpt

    PATHS = tuple(key for key in PATHS if key not in ("data.skeleton", "data.mask_dir"))

    @pytest.mark.parametrize("key", PATHS)
    def test_paths_in_a_recipe_are_looked_for_beside_it_first(self, tmp_path, monkeypatch, key, caplog):
        """As those under `base` are; then from the current folder."""
        section, _, name = key.partition(".")
        for place in ("recipes", "here"):
            (tmp_path / place).mkdir()
        (tmp_path / "recipes" / "r.yaml").write_text(f"format: 2\n{section}: {{{name}: mine}}\n")
        monkeypatch.chdir(tmp_path / "here")

        def value() -> str:
            return get(load_config("../recipes/r.yaml"), key)

        assert value() == "mine"
        (tmp_path / "here" / "mine").mkdir()
        assert value() == "mine"
        (tmp_path / "recipes" / "mine").mkdir()
        assert Path(value()).samefile(tmp_path / "recipes" / "mine")
        assert key in caplog.text  # both are there

    @pytest.mark.parametrize("value", ["x" * 5000, ""])
    def test_a_value_that_names_no_file_stays(self, tmp_path, value):
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({"format": 2, "data": {"root": value}}))
        assert load_config(tmp_path / "r.yaml").data.root == value

    def test_results_go_to_a_folder_called_after_the_recipe(self, recipe):
        assert parse(["--config", recipe]).runtime.output == os.path.join("outputs", "recipe")
        assert parse(["--config", recipe, "output=here"]).runtime.output == "here"


class TestErrors:
    def result(self, capsys, command, *arguments: str) -> tuple[int, str]:
        code = run(Usage("Test."), command, arguments)
        return code, capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "code", "named"),
        [
            (PoseError("file is bad"), 1, ("file is bad",)),
            (UsageError("key is bad"), 2, ("key is bad",)),
            (
                ModuleNotFoundError("No module named 'mindspore'", name="mindspore"),
                1,
                ("No module named 'mindspore'", "pip install 'mspose[train]'", "'.[train]'"),
            ),
            (
                RuntimeError("deep\n  down"),
                1,
                ("RuntimeError", "deep down", "out/crash.txt"),
            ),
        ],
    )
    def test_one_line_and_the_exit_code(self, recipe, capsys, error, code, named, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        def command(config: Config) -> None:
            raise error

        given, text = self.result(capsys, command, "--config", recipe, "output=out")
        assert (given, text.startswith("error: "), text.count("\n"), text[-1]) == (code, True, 1, "\n")
        assert tells_of(text, *named)

    def test_a_traceback_replaces_no_file_of_somebody_else(self, recipe, capsys, tmp_path):
        def command(config: Config) -> None:
            raise RuntimeError("deep down")

        (tmp_path / "crash.txt").write_text("what I saw at the crossing")
        _, err = self.result(capsys, command, "--config", recipe, f"output={tmp_path}")
        assert (tmp_path / "crash.txt").read_text() == "what I saw at the crossing"
        written = Path(re.search(r"/\S*crash\S*\.txt", err)[0])
        assert "deep down" in written.read_text()
        written.unlink()

    @pytest.mark.parametrize("section", ["train", "eval", "export"])
    @pytest.mark.parametrize("form", ["batch_size=8", "--batch_size=8", "batchsize=8"])
    def test_a_suggestion_is_a_key_of_the_command(self, recipe, section, form):
        with pytest.raises(UsageError, match=naming(f"'{section}.batch_size'")):
            parse(["--config", recipe, form], Usage(section=section))

    def test_a_key_that_the_command_has_not_is_found_elsewhere(self, recipe):
        with pytest.raises(UsageError, match=naming("'train.lr'")):
            parse(["--config", recipe, "lr=8"], Usage(section="eval"))
        with pytest.raises(UsageError, match=naming("--confg", "--config")):
            parse(["--confg", recipe])

    @pytest.mark.parametrize("value", ["onnx", "Onnx", "ONNX"])
    def test_choices_are_read_in_any_case(self, recipe, value):
        config = parse(["--config", recipe, f"file_format={value}", "device=cpu".replace("device", "runtime.device")])
        assert (config.export.file_format, config.runtime.device) == ("ONNX", "CPU")

    @pytest.mark.parametrize("writable", [True, False])
    def test_traceback_of_what_nobody_foresaw_is_in_a_file(self, recipe, capsys, tmp_path, writable):
        def command(config: Config) -> None:
            raise RuntimeError("deep down")

        folder = tmp_path / "out" if writable else Path(recipe) / "no folder"
        code, text = self.result(capsys, command, "--config", recipe, f"output={folder}")
        path = Path(re.search(r"/\S*crash\S*\.txt", text)[0])
        assert code == 1
        assert (path.parent == folder) == writable
        assert 'raise RuntimeError("deep down")' in path.read_text()
        path.unlink()

    def test_out_of_memory_says_what_to_do(self, recipe, capsys):
        def command(config: Config) -> None:
            raise MemoryError

        code, text = self.result(capsys, command, "--config", recipe)
        assert code == 1
        assert "train.batch_size" in text

    def test_debug_shows_the_place(self, recipe, capsys):
        def command(config: Config) -> None:
            raise PoseError("file is bad")

        code, text = self.result(capsys, command, "--debug", "--config", recipe)
        assert code == 1
        assert text.startswith("Traceback")
        assert "raise PoseError" in text
        assert text.endswith("\nerror: file is bad\n")

    def test_success(self, recipe, capsys):
        assert self.result(capsys, lambda config: None, "--config", recipe) == (0, "")

    def test_missing_config_says_where_recipes_are(self, capsys):
        code, text = self.result(capsys, print)
        assert code == 2
        assert str(ROOT / "configs") in text

    def test_carriage_returns_at_line_ends(self, recipe):
        configs: list[Config] = []
        assert run(Usage("Test."), configs.append, ["--config", recipe + "\r", "train.epochs=5\r"]) == 0
        assert configs[0].train.epochs == 5

    def test_reader_that_stops_reading_the_help(self):
        code = (
            f"import sys, os; sys.path.insert(0, {str(ROOT / 'src')!r}); r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
            "from mspose.cli import Usage, run; sys.exit(run(Usage('Test.'), print, ['--help']))"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stderr) == (1, "")


MAIN = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from mspose.commands import main; sys.exit(main())"


class TestStandardStreams:
    """Closed, full, or without a reader."""

    @staticmethod
    def result(redirected: str, *arguments: object) -> tuple[int, str]:
        words = [sys.executable, "-c", MAIN, *map(str, arguments)]
        line = f"{shlex.join(words)} {redirected}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    @pytest.mark.parametrize("arguments", [("--help",), ("eval", "--help"), ("--version",)])
    def test_full(self, arguments):
        code, errors = self.result("> /dev/full", *arguments)
        assert (code, errors.count("\n")) == (1, 1)
        assert tells_of(errors, "standard output", "No space left on device")

    @pytest.mark.parametrize("arguments", [("--help",), ("eval", "--help"), ("convert", "--help")])
    def test_no_reader(self, arguments):
        assert self.result("| exec 0<&-", *arguments)[1] == ""

    def test_closed_ones_are_nowhere_and_no_result_takes_their_number(self, tmp_path):
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from mspose.commands import set_up_terminal; "
            "set_up_terminal(); import os; sys.stdout.isatty(), sys.stderr.isatty(), sys.stdin.read()\n"
            "file = open(sys.argv[1], 'w'); os.write(1, b'x'); file.write(str(file.fileno() > 2))"
        )
        line = f"{shlex.join([sys.executable, '-c', code, str(tmp_path / 'result')])} <&- >&- 2>&-"
        subprocess.run(["bash", "-c", line], timeout=60, check=True)
        assert (tmp_path / "result").read_text() == "True"


class TestScripts:
    """The entry scripts as processes: none of this may import MindSpore, which takes seconds."""

    @pytest.mark.parametrize("name", ["train.py", "eval.py", "demo.py"])
    def test_help_lists_every_key(self, name):
        result = script(name, "--help")
        assert result.returncode == 0
        assert not [key for key in all_keys() if f"\n  {key}=" not in result.stdout]
        assert not [flag for flag in FLAGS if f"\n  --{flag} " not in result.stdout]
        assert re.search(rf"python {re.escape(name)} .*--config RECIPE", result.stdout)
        assert "mindspore" not in imported(result)
        assert "mspose" in imported(result)

    def test_misspelt_key(self):
        result = script("train.py", "--config", "configs/simplepose_coco_mini.yaml", "train.lrr=1")
        (line,) = messages(result)
        assert line.startswith("error: ")
        assert tells_of(line, "'train.lrr'", "'train.lr'")
        assert result.returncode == 2
        assert "mindspore" not in imported(result)

    def test_evaluation_without_a_checkpoint(self, tmp_path):
        result = script("eval.py", "--config", "configs/simplepose_coco_mini.yaml", f"output={tmp_path}")
        (line,) = messages(result)
        assert line.startswith("error: ")
        assert tells_of(line, "--ckpt")
        assert result.returncode == 2
        assert "mindspore" not in imported(result)

    def test_missing_data(self, tmp_path):
        result = script(
            "train.py",
            "--config",
            "configs/simplepose_coco_mini.yaml",
            f"output={tmp_path}",
            f"data.root={tmp_path / 'absent'}",
        )
        (line,) = messages(result)
        assert line.startswith("error: ")
        assert tells_of(line, tmp_path / "absent")
        assert result.returncode == 1
        assert "mindspore" not in imported(result)


def test_what_edge_hosts_run_needs_no_mindspore():
    modules = [
        "config",
        "skeleton",
        "geometry",
        "images",
        "files",
        "cli",
        "visual",
        "codecs.heatmap",
        "evaluation.oks",
        "evaluation.coco",
        "data.coco",
        "data.topdown",
    ]
    code = f"import sys; sys.modules['mindspore'] = None; import {', '.join('mspose.' + module for module in modules)}"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_resumed_run_obeys_the_conventions_of_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("train: {resume: auto}\n")
    (tmp_path / "last.yaml").write_text("data: {color: rgb}\n")
    write_ckpt({name: np.ones(1) for name in COUNTERS}, tmp_path / "last.ckpt")
    config = parse(["--config", str(tmp_path / "c.yaml"), f"output={tmp_path}"])
    assert config.data.color == "rgb"


def test_home_folder_in_files_and_behind_equals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell replaces `~` there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("data: {root: ~/coco, val_images: '~/pictures'}\n")
    (tmp_path / "recipe.yaml").write_text("base: ~/base.yaml\neval: {bbox_file: ~/boxes.json}\n")
    config = parse(["--config=~/recipe.yaml", "--output=~/out", "demo.input=~/a~b/*.jpg", "train.resume=a~b"])
    found = config.data.root, config.data.val_images, config.eval.bbox_file, config.runtime.output, *config.demo.input
    assert found == tuple(f"{tmp_path}/{name}" for name in ("coco", "pictures", "boxes.json", "out", "a~b/*.jpg"))
    assert config.train.resume == "a~b"


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}]
)
def test_no_line_is_lost_in_any_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    """Neither letters that it lacks nor file names that are not UTF-8."""
    code = (
        "import sys; from mspose.cli import Usage, run; import logging\n"
        "def command(config):\n"
        "    logging.getLogger('pose').info(f'3 \\xd7 4: {config.runtime.output}'); print('\\u5199')\n"
        "sys.exit(run(Usage('x'), command, sys.argv[1:]))"
    )
    output = os.fsencode(tmp_path) + b"/caf\xe9"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", "simplepose_r50_256x192", b"--output=" + output],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (0, b"", 2)
    assert re.fullmatch(r"3 (×|\\xd7) 4: .*caf\\udce9", lines[0])
    assert lines[1] in ("写", r"\u5199")


@pytest.mark.parametrize("arguments", [["--ckpt", "x" * 300], ["--ckpt", "x" * 300 + ".onnx"], ["--config", "x" * 300]])
def test_a_name_that_no_file_can_have_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(
        Usage("x"),
        print,
        [*arguments, *(["--config", "simplepose_r50_256x192"] if "--config" not in arguments else [])],
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "x" * 300 in line
    assert "crash" not in line


def test_what_a_file_says_cannot_break_or_colour_the_line_of_an_error() -> None:
    assert str(PoseError("missing: a\nb \x1b[31m  c\u2028d é.jpg")) == "missing: a?b ?[31m  c?d é.jpg"
