"""What eval.py does, from a configuration to files and a printed table."""

from __future__ import annotations

import logging
from pathlib import Path

from src.config import save_config
from src.engine.evaluator import Outcome, describe_speed
from src.engine.runtime import start
from src.engine.tasks import TASKS
from src.errors import PoseError, UsageError
from src.evaluation.coco import format_table
from src.files import check_writable
from src.schema import Config

log = logging.getLogger("pose")


def evaluate_checkpoint(config: Config) -> Outcome:
    """What eval.py does: load the checkpoint, evaluate, write and print everything into `runtime.output`.

    Raises:
        PoseError, UsageError: no checkpoint, one of another network, unusable data, unwritable output.
    """
    if not config.runtime.ckpt:
        raise UsageError("no checkpoint to evaluate: give --ckpt FILE")
    if not Path(config.runtime.ckpt).is_file():
        raise PoseError(f"checkpoint not found: {config.runtime.ckpt}")
    folder = check_writable(config.runtime.output)
    evaluator = TASKS[config.model.name].evaluator(config, config.eval.use_gt_bbox)
    runtime = start(config.runtime)
    # These import MindSpore, which must come after every check that needs none.
    from src.checkpoints.io import assign, load, network_weights
    from src.engine.backends import MindSporeBackend
    from src.models import build_model

    log.info(f"loading {config.runtime.ckpt}")
    network = build_model(config.model, evaluator.skeleton)
    assign(network, network_weights(load(config.runtime.ckpt)), config.runtime.ckpt)
    log.info(f"evaluating {len(evaluator)} {evaluator.unit} of {len(evaluator.images)} images on {runtime.device}, "
             f"flip test: {config.eval.flip_test}")
    outcome = evaluator.run(MindSporeBackend(runtime.adapt(network), evaluator.any_size))
    evaluator.save(outcome, folder)
    save_config(config, folder / "eval_config.yaml")
    if config.eval.draw:
        pictures = evaluator.draw(outcome, folder / "pictures", config.eval.draw)
        log.info(f"{len(pictures)} pictures in {folder / 'pictures'}")
    log.info(describe_speed(outcome))
    log.info(f"results in {folder}")
    log.info(format_table(outcome.figures))
    log.info(str(dict(outcome.figures)))
    log.info(f"AP: {outcome.figures['AP']}")
    return outcome
