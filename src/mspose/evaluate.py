"""What eval.py does, from a configuration to files and a printed table."""

from __future__ import annotations

import logging

from mspose.backends.open import check_checkpoint, open_backend
from mspose.config.builder import save_config
from mspose.config.schema import Config
from mspose.evaluation.coco import format_table
from mspose.files import check_writable
from mspose.methods.evaluator import Evaluator, Outcome, describe_speed
from mspose.networks import method_of
from mspose.runtime.ranks import launched

log = logging.getLogger("pose")


def evaluate_checkpoint(config: Config) -> Outcome | None:
    """What eval.py does: load the checkpoint, evaluate, write and print everything into `runtime.output`.

    Several ranks share the work; the first one merges, writes and prints, and the others return None.

    Raises:
        PoseError, UsageError: no checkpoint, one of another network, unusable data, unwritable output.
    """
    check_checkpoint(config, "to evaluate")
    folder = check_writable(config.runtime.output)
    method = method_of(config)
    evaluator = Evaluator(method)
    backend = open_backend(config, method.any_size)
    log.info(
        f"evaluating {len(evaluator)} {method.unit} of {len(evaluator.images)} images, flip test: "
        f"{config.eval.flip_test}"
    )
    outcome = evaluator.run(backend, launched())
    if outcome is None:
        return None
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
