"""Fixtures shared by the tests: where reference numerics and real pictures are."""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from pathlib import Path

import pytest

from mspose.runtime.device import prepare_environment

prepare_environment()  # some tests import MindSpore themselves
sys.modules.setdefault("openvino_telemetry", None)  # and OpenVINO, which else would report it to its makers
ROOT = Path(__file__).resolve().parents[1]
# For the commands that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))

# Marker: the tests that get it, by the beginning of their names. Slow is what trains, evaluates or exports in processes
# of its own, and what took three seconds or more, told by `pytest FILE --durations=15` on two cores. The rest is the
# quick subset, `pytest -m "not slow"`, and takes some three minutes there.
MARKED = {
    "browser": ("tests/demo/test_page_browser.py",),
    "slow": (
        "tests/checkpoints/test_convert.py::test_block_order_is_turned",
        "tests/checkpoints/test_convert.py::test_published_networks_give",
        "tests/checkpoints/test_pickled.py::test_hostile_shapes_do_no_harm[hostile5]",
        "tests/demo/test_page_browser.py",
        "tests/demo/test_run.py::test_command",
        "tests/demo/test_run.py::test_ctrl_c",
        "tests/diagnose/test_compare.py",
        "tests/detection/test_yolov3.py",
        "tests/export/test_command.py",
        "tests/models/test_fastpose.py::test_any_size_compiles_once",
        "tests/models/test_fastpose.py::test_outputs_equal_the_reference",
        "tests/models/test_fold.py::test_folding_keeps_the_outputs_and_leaves_no_batch_norm[hrnet]",
        "tests/models/test_fold.py::test_folding_keeps_the_outputs_and_leaves_no_batch_norm[rtmpose]",
        "tests/models/test_hrnet.py::test_compiled",
        "tests/models/test_hrnet.py::test_outputs_equal",
        "tests/models/test_hrnet.py::test_parameter_count",
        "tests/models/test_openpose.py::test_every_parameter_gets",
        "tests/models/test_openpose.py::test_outputs_equal_the_reference",
        "tests/models/test_simplepose.py::test_outputs_equal_the_reference",
        "tests/models/test_rtmpose.py::test_mixed_precision",
        "tests/models/test_rtmpose.py::test_outputs_equal",
        "tests/models/test_vitpose.py::test_drop_path",
        "tests/models/test_vitpose.py::test_outputs_equal_the_reference",
        "tests/models/test_yolov3.py",
        "tests/runtime/test_hosts.py",
        "tests/runtime/test_modelarts.py::test_training_and_evaluation",
        "tests/runtime/test_ranks.py::test_ranks_evaluate",
        "tests/runtime/test_ranks.py::test_synchronised_statistics",
        "tests/runtime/test_ranks.py::test_two",
        "tests/runtime/test_signals.py::test_a_command_that",
        "tests/runtime/test_signals.py::test_a_library_that",
        "tests/test_api_page.py::test_examples_run",
        "tests/test_commands.py",
        "tests/test_export_commands.py",
        "tests/test_model_pages.py::test_figures_of_all_networks",
        "tests/test_notebook.py::test_cells_run",
        "tests/test_own_data.py::test_commands_lead",
        "tests/test_own_data.py::test_drawn_people",
        "tests/test_rtmpose.py",
        "tests/test_site.py::test_built_pages",
        "tests/test_site.py::test_site_builds",
        "tests/test_scripts.py::test_killed_rank_under_msrun",
        "tests/test_scripts.py::test_python_scripts",
        "tests/test_scripts.py::test_rank_that_raises",
        "tests/test_scripts.py::test_shellcheck",
        "tests/test_scripts.py::test_training_and_evaluation",
        "tests/test_toy.py",
        "tests/train/test_performance.py::test_command",
        "tests/train/test_snapshots.py::test_a_run_that_continues",
        "tests/train/test_step.py",
    ),
}


# Files that take a minute and more begin first: a file stays with one process, and none must be left to one at the end.
FIRST = ("runtime/test_ranks", "test_commands", "test_toy", "test_export")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of MARKED, and put the files of FIRST first."""
    items.sort(key=lambda item: next((i for i, name in enumerate(FIRST) if f"tests/{name}" in item.nodeid), len(FIRST)))
    for item in items:
        for marker, beginnings in MARKED.items():
            if item.nodeid.startswith(beginnings):
                item.add_marker(marker)


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{path} is absent: set {variable} to the folder of {default}")
    return path


@pytest.fixture(autouse=True)
def _plain_logger() -> None:
    """Undo what a command run inside the test process did to the logger."""
    logger = logging.getLogger("pose")
    logger.propagate, logger.handlers = True, []


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Folder of the reference numerics (`POSE_PARITY_DIR`)."""
    return _folder("POSE_PARITY_DIR", "parity")


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """A small part of COCO 2017 in the standard layout (`POSE_COCO_MINI_DIR`)."""
    return _folder("POSE_COCO_MINI_DIR", "coco-mini")


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set of drawn people: 24 training and 10 evaluation pictures."""
    from mspose.synthetic.sample import generate

    root = tmp_path_factory.mktemp("sample")
    generate(root, 24, 10)
    return root


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Draws what a test leaves to chance; a failure shows the seed, and POSE_TEST_SEED=SEED draws the same again."""
    seed = os.environ.get("POSE_TEST_SEED") or str(time.time_ns())
    print(f"POSE_TEST_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")  # two tests of one run draw differently
