"""ModelArts: data in, results out, against a stand-in for moxing whose object store is a local folder."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.runs import COUNTERS
from mspose.cli import Usage, run, split_arguments
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.runtime import modelarts
from mspose.runtime.modelarts import unzip
from tests.conftest import ROOT
from tests.messages import tells_of

# obs://NAME is the folder $STORE/NAME; every call is noted in $STORE/calls.
MOXING = """
import contextlib
import os
import random
import shutil
from pathlib import Path

store = Path(os.environ["STORE"])


def _path(url):
    return store / url[6:] if url.startswith("obs://") else Path(url)


class file:
    @staticmethod
    def _note(*words):
        with (store / "calls").open("a") as calls:
            calls.write(" ".join(words) + "\\n")

    @staticmethod
    def copy_parallel(source, target):
        file._note("copy_parallel", source, target)
        shutil.copytree(_path(source), _path(target), dirs_exist_ok=True)

    @staticmethod
    def copy(source, target):
        file._note("copy", source, target)
        _path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_path(source), _path(target))

    @staticmethod
    def exists(url):
        return _path(url).exists()

    @staticmethod
    def remove(url):
        _path(url).unlink()
"""


class Platform:
    """An object store, and what a job is started with."""

    def __init__(self, folder: Path) -> None:
        self.store, self.data, self.output = folder / "store", folder / "cache" / "data", folder / "cache" / "train"
        (folder / "moxing").mkdir()
        (folder / "moxing" / "__init__.py").write_text(MOXING)
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text("eval: {bbox_file: data/coco/boxes/b.json}\n")
        self.put("data/coco/annotations/a.json", "{}")
        self.put("data/coco/val2017/1.jpg", "picture")

    def put(self, name: str, text: str) -> Path:
        path = self.store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def calls(self, verb: str) -> list[str]:
        path = self.store / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{verb} ")]

    def arguments(self, *more: str, data_url: str = "obs://data/coco", train_url: str = "obs://results/") -> list[str]:
        return [
            "--config",
            str(self.recipe),
            f"--data_url={data_url}",
            f"--train_url={train_url}",
            "--enable_modelarts=True",
            f"--modelarts.data_path={self.data}",
            f"--modelarts.output_path={self.output}",
            *more,
        ]

    def run(self, command: Callable[[Config], object], *more: str, **urls: str) -> int:
        return run(Usage("Test."), command, self.arguments(*more, **urls))

    def config(self, *more: str, **urls: str) -> Config:
        """The configuration that a command gets."""
        seen: list[Config] = []
        assert self.run(seen.append, *more, **urls) == 0
        return seen[0]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.delenv("RANK_SIZE", raising=False)
    monkeypatch.delitem(sys.modules, "moxing", raising=False)
    yield Platform(tmp_path)
    sys.modules.pop("moxing", None)


def write(config: Config, name: str, text: str = "result") -> Path:
    path = Path(config.runtime.output, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def archive(path: Path, **files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return path


class TestCommandLine:
    @pytest.mark.parametrize(
        "form",
        [
            "--enable_modelarts=True",
            "enable_modelarts=True",
            "runtime.modelarts=true",
            "modelarts.enable=true",
            "--modelarts.enable=true",
        ],
    )
    def test_ways_to_turn_it_on(self, form):
        assert [*split_arguments([form])[1]] == ["modelarts.enable"]

    def test_parameters_of_a_job_come_with_dashes(self):
        assert split_arguments(["--train.batch_size=64", "--runtime.seed", "3"]) == (
            "",
            {"train.batch_size": "64", "runtime.seed": "3"},
        )

    @pytest.mark.parametrize("flag", ["--init_method=tcp://10.0.0.1:6666", "--rank=0", "--world_size=1"])
    def test_flags_of_the_platform_are_left_alone(self, flag, caplog):
        assert split_arguments([flag]) == ("", {})
        assert flag.partition("=")[0] in caplog.text

    def test_disabled_it_does_nothing(self, platform):
        seen: list[Config] = []
        arguments = [a for a in platform.arguments() if "enable" not in a]
        assert run(Usage("Test."), seen.append, arguments) == 0
        assert seen[0].data.root == "data/coco"
        assert not platform.calls("copy_parallel")
        assert "moxing" not in sys.modules


class TestData:
    def test_folder(self, platform):
        config = platform.config()
        assert config.data.root == str(platform.data)
        assert (platform.data / "val2017" / "1.jpg").read_text() == "picture"

    def test_paths_below_the_root_move_with_it(self, platform):
        assert platform.config().eval.bbox_file == str(platform.data / "boxes" / "b.json")

    def test_paths_elsewhere_stay(self, platform):
        assert platform.config("eval.bbox_file=elsewhere/b.json").eval.bbox_file == "elsewhere/b.json"

    def test_data_set_one_folder_down(self, platform):
        assert platform.config(data_url="obs://data").data.root == str(platform.data / "coco")

    @pytest.mark.parametrize("url", ["obs://zips", "obs://zips/coco.zip"])
    def test_archive_is_unzipped_and_removed(self, platform, url):
        archive(platform.store / "zips" / "coco.zip", **{"coco2017/annotations/a.json": "{}"})
        assert platform.config(data_url=url).data.root == str(platform.data / "coco2017")
        assert not list(platform.data.glob("*.zip"))

    def test_copied_once(self, platform):
        platform.config()
        platform.config()
        assert len(platform.calls("copy_parallel")) == 1

    def test_interrupted_copy_starts_anew(self, platform):
        bad = archive(platform.store / "data" / "coco" / "x.zip", **{"../x": ""})
        assert platform.run(print) == 1
        archive(bad, **{"val2017/2.jpg": "picture"})
        platform.config()
        assert (platform.data / "val2017" / "2.jpg").exists()

    def test_data_of_another_address_in_the_folder(self, platform, capsys):
        platform.config()
        assert platform.run(print, data_url="obs://data") == 1
        message = capsys.readouterr().err
        assert tells_of(message, platform.data, "obs://data/coco")
        assert message.count("obs://data") == 2

    def test_local_folder_is_used_in_place(self, platform):
        local = platform.store / "data" / "coco"
        assert platform.config(data_url=str(local)).data.root == str(local)
        assert not platform.data.exists()

    def test_local_archive_is_unzipped_and_kept(self, platform):
        path = archive(platform.store / "zips" / "coco.zip", **{"annotations/a.json": "{}"})
        assert platform.config(data_url=str(path.parent)).data.root == str(platform.data)
        assert path.exists()

    def test_what_lies_beside_a_local_archive_is_found_too(self, platform, tmp_path):
        local = tmp_path / "local"
        archive(local / "val2017.zip", **{"val2017/1.jpg": "picture", "annotations/b.json": "{}"})
        for name in ("annotations/a.json", "train2017/2.jpg"):
            (local / name).parent.mkdir(exist_ok=True)
            (local / name).write_text(name)
        root = Path(platform.config(data_url=str(local)).data.root)
        found = {p.relative_to(root).as_posix() for f in root.iterdir() if f.is_dir() for p in f.iterdir()}
        assert found == {"annotations/a.json", "annotations/b.json", "train2017/2.jpg", "val2017/1.jpg"}

    def test_nothing_at_the_address(self, platform, capsys):
        assert platform.run(print, data_url="obs://absent") == 1
        assert tells_of(capsys.readouterr().err, "copy_parallel", "obs://absent")

    def test_no_local_folder(self, platform, capsys):
        assert platform.run(print, data_url="/absent") == 2
        assert tells_of(capsys.readouterr().err, "modelarts.data_url", "/absent")

    def test_no_moxing(self, platform, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "moxing", None)
        assert platform.run(print) == 1
        assert tells_of(capsys.readouterr().err, "moxing", "modelarts.data_url", "modelarts.train_url")

    def test_weights_and_their_conventions(self, platform, tmp_path):
        platform.put("weights/w.ckpt", "")
        platform.put("weights/w.yaml", "data: {color: rgb}")
        config = platform.config(
            "--modelarts.checkpoint_url=obs://weights",
            f"--modelarts.load_path={tmp_path / 'load'}",
            f"--ckpt={tmp_path / 'load' / 'w.ckpt'}",
        )
        assert config.data.color == "rgb"

    def test_processes_of_one_machine_copy_once(self, platform):
        """Two processes at the same moment: both see the whole data set, one fetched it."""
        code = (
            "import sys; sys.path.insert(0, sys.argv.pop(1)); from pathlib import Path\n"
            "from mspose.cli import Usage, run\n"
            "show = lambda config: print('has', len(list(Path(config.data.root).rglob('*.jpg'))))\n"
            "sys.exit(run(Usage('T'), show, sys.argv[1:]))"
        )
        for number in range(300):
            platform.put(f"data/coco/val2017/{number}.jpg", "x" * 1000)
        environments = [{**os.environ, "RANK_ID": str(rank), "RANK_SIZE": "2"} for rank in range(2)]
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(ROOT), *platform.arguments()],
                text=True,
                stdout=subprocess.PIPE,
                cwd=platform.recipe.parent,
                env=environment,
            )
            for environment in environments
        ]
        outputs = [worker.communicate(timeout=60)[0] for worker in workers]
        assert ["has 300" in output for output in outputs] == [True, True]
        assert len(platform.calls("copy_parallel")) == 1


class TestResults:
    def test_sent_at_the_end(self, platform):
        assert platform.run(lambda config: write(config, "sub/metrics.jsonl")) == 0
        assert (platform.store / "results" / "sub" / "metrics.jsonl").read_text() == "result"

    def test_sent_after_a_failure(self, platform, capsys):
        def command(config: Config) -> None:
            write(config, "last.ckpt")
            raise PoseError("the loss is no number")

        assert platform.run(command) == 1
        assert capsys.readouterr().err == "error: the loss is no number\n"
        assert (platform.store / "results" / "last.ckpt").exists()

    def test_sent_while_the_run_goes_on(self, platform, monkeypatch):
        monkeypatch.setattr(modelarts, "UPLOAD_SECONDS", 0.01)

        def command(config: Config) -> None:
            path = write(config, "p-1_10.ckpt")
            wait_for(lambda: (platform.store / "results" / path.name).exists())
            path.unlink()
            write(config, "p-2_20.ckpt", "newer")
            wait_for(lambda: (platform.store / "results" / "p-2_20.ckpt").exists())

        assert platform.run(command) == 0
        assert [p.name for p in (platform.store / "results").iterdir()] == ["p-2_20.ckpt"]
        assert len(platform.calls("copy")) == 2

    @pytest.mark.parametrize("loss", ["folder", "content", "listing"])
    def test_results_that_are_gone_here_stay_there(self, platform, monkeypatch, loss):
        monkeypatch.setattr(modelarts, "UPLOAD_SECONDS", 0.01)
        names = ("last.ckpt", "p-1_10.ckpt", "p-1_10.yaml", "sub/metrics.json")

        def command(config: Config) -> None:
            for name in names:
                write(config, name)
            wait_for(lambda: all((platform.store / "results" / name).exists() for name in names))
            if loss == "listing":
                scan = os.scandir

                def refused(path):
                    if str(path).startswith(str(platform.output)):
                        raise PermissionError(13, "Permission denied", str(path))
                    return scan(path)

                monkeypatch.setattr(os, "scandir", refused)
            else:
                shutil.rmtree(platform.output)
            if loss == "content":
                platform.output.mkdir()
            time.sleep(0.1)

        assert platform.run(command) == (0 if loss == "content" else 1)
        assert all((platform.store / "results" / name).exists() for name in names)

    @pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "metrics.jsonl"])
    def test_earlier_run_is_not_replaced(self, platform, capsys, name):
        earlier = platform.put(f"results/{name}", "earlier")
        assert platform.run(lambda config: write(config, name)) == 2
        assert f"obs://results/{name}" in capsys.readouterr().err
        assert earlier.read_text() == "earlier"

    def test_evaluation_goes_beside_an_earlier_run(self, platform, tmp_path):
        earlier = platform.put("results/last.ckpt", "earlier")
        (tmp_path / "w.mindir").touch()
        assert platform.run(lambda config: write(config, "metrics.json"), f"--ckpt={tmp_path / 'w.mindir'}") == 0
        assert earlier.read_text() == "earlier"

    def test_half_written_files_are_not_sent(self, platform):
        assert platform.run(lambda config: write(config, ".last.abc.ckpt")) == 0
        assert not platform.calls("copy")

    def test_only_the_first_rank_sends(self, platform, monkeypatch):
        monkeypatch.setenv("RANK_ID", "1")
        monkeypatch.setenv("RANK_SIZE", "2")
        assert platform.run(lambda config: write(config, "log")) == 0
        assert not platform.calls("copy")

    def test_failure_to_send_fails_the_run(self, platform, capsys):
        (platform.store / "results").write_text("a file where the folder should be")
        assert platform.run(lambda config: write(config, "log")) == 1
        assert tells_of(capsys.readouterr().err, "copy", "obs://results")

    def test_output_inside_the_copied_folder_stays(self, platform):
        output = platform.output / "checkpoint"
        assert platform.config(f"output={output}").runtime.output == str(output)

    def test_local_address_is_the_output_folder(self, platform, tmp_path):
        assert platform.config(train_url=str(tmp_path / "out")).runtime.output == str(tmp_path / "out")

    def test_exported_file_is_a_result(self, platform):
        assert platform.config("export.file_name=pose").export.file_name == str(platform.output / "pose")
        assert platform.config("export.file_name=/other/pose").export.file_name == "/other/pose"

    def test_resumed_run_is_fetched_with_its_conventions(self, platform):
        path = platform.put("results/last.ckpt", "")
        write_ckpt({name: np.ones(1) for name in COUNTERS}, path)
        platform.put("results/last.yaml", "data: {color: rgb}")
        config = platform.config("train.resume=auto")
        assert (platform.output / "last.ckpt").read_bytes() == path.read_bytes()
        assert config.data.color == "rgb"
        assert not platform.calls("copy"), "what has just been fetched is not sent back"

    def test_first_start_of_a_run_to_be_resumed(self, platform):
        assert platform.run(lambda config: write(config, "last.ckpt"), "train.resume=auto") == 0
        assert (platform.store / "results" / "last.ckpt").exists()


def test_training_and_evaluation(platform, sample_dir):
    """A zipped data set and two real commands: what one job leaves in the store, the next one evaluates."""
    path = platform.store / "zips" / "sample.zip"
    path.parent.mkdir()
    shutil.make_archive(str(path.with_suffix("")), "zip", sample_dir)
    common = [
        "--config=configs/quickstart/simplepose.yaml",
        "--enable_modelarts=True",
        "--data_url=obs://zips",
        "--train_url=obs://results",
        f"--modelarts.data_path={platform.data}",
        "--device_target=CPU",
        f"--modelarts.output_path={platform.output}",
        "--init_method=tcp://127.0.0.1:1",
        "--rank=0",
        "--model.base_width=8",
    ]
    jobs = {
        "train.py": ["--train.epochs=1", "--train.batch_size=8", "--train.eval_epochs=0"],
        "eval.py": [
            "--modelarts.checkpoint_url=obs://results",
            f"--modelarts.load_path={platform.recipe.parent / 'load'}",
            f"--ckpt_url={platform.recipe.parent / 'load' / 'last.ckpt'}",
        ],
    }
    for name, arguments in jobs.items():
        result = subprocess.run(
            [sys.executable, name, *common, *arguments],
            cwd=ROOT,
            text=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(platform.recipe.parent)},
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    names = {path.name for path in (platform.store / "results").rglob("*")}
    assert {"last.ckpt", "last.yaml", "config.yaml", "eval_config.yaml"} <= names
    assert len([call for call in platform.calls("copy_parallel") if "zips" in call]) == 1


class TestUnzip:
    def complaint(self, path: Path, folder: Path) -> str:
        with pytest.raises(PoseError) as caught:
            unzip(path, folder)
        assert [p for p in folder.rglob("*") if p != path] == []
        assert tells_of(str(caught.value), path)
        return str(caught.value)

    def test_merges_into_what_is_there(self, tmp_path):
        (tmp_path / "val2017").mkdir()
        (tmp_path / "val2017" / "0.jpg").write_text("0")
        unzip(archive(tmp_path / "a.zip", **{"val2017/1.jpg": "1", "annotations/": ""}), tmp_path)
        assert sorted(p.name for p in (tmp_path / "val2017").iterdir()) == ["0.jpg", "1.jpg"]

    @pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:/x"])
    def test_paths_that_lead_out(self, tmp_path, name):
        path = archive(tmp_path / "a.zip", **{"good": "1", name: "2"})
        assert repr(name) in self.complaint(path, tmp_path)
        assert not (tmp_path.parent / "x").exists()

    def test_links(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            link = zipfile.ZipInfo("link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(link, "/etc/passwd")
        assert "'link'" in self.complaint(tmp_path / "a.zip", tmp_path)

    @pytest.mark.parametrize("second", ["a/b.jpg", "a//b.jpg", "./a/b.jpg"])
    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_name_twice(self, tmp_path, second):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr("a/b.jpg", "1")
            file.writestr(second, "2")
        assert tells_of(self.complaint(tmp_path / "a.zip", tmp_path), "'a/b.jpg'", 2)

    def test_nothing_in_it(self, tmp_path):
        assert "files" in self.complaint(archive(tmp_path / "a.zip"), tmp_path)
        assert "files" in self.complaint(archive(tmp_path / "a.zip", **{"folder/": ""}), tmp_path)

    def test_any_change_is_unzipped_or_one_line(self, tmp_path):
        whole = archive(tmp_path / "a.zip", **{"a/1.jpg": "1" * 50, "2.jpg": "2"}).read_bytes()
        chance = random.Random(0)
        for _ in range(150):
            changed = bytearray(whole)
            for _ in range(chance.choice([1, 3])):
                changed[chance.randrange(len(changed))] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
            (tmp_path / "b.zip").write_bytes(changed)
            (tmp_path / "out").mkdir(exist_ok=True)
            with contextlib.suppress(PoseError):
                unzip(tmp_path / "b.zip", tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "b.zip", "out"}

    def test_damaged(self, tmp_path):
        path = archive(tmp_path / "a.zip", good="1" * 100)
        path.write_bytes(path.read_bytes().replace(b"1111", b"1211"))
        assert "'good'" in self.complaint(path, tmp_path)

    def test_too_large(self, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10))
        assert "modelarts.data_path" in self.complaint(archive(tmp_path / "a.zip", x="1" * 11), tmp_path)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("nothing happened for 10 s")
