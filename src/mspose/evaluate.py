"""What eval.py does, from a configuration to files and a printed table."""

from __future__ import annotations

import logging
from pathlib import Path

from mspose.backends.open import check_checkpoint, open_backend
from mspose.config.schema import Config
from mspose.evaluation.coco import format_table
from mspose.extras import need
from mspose.methods.evaluator import Evaluator, Outcome, describe_speed
from mspose.networks import method_of
from mspose.outputs import check_targets, result_files, save_results
from mspose.runtime.ranks import launched
from mspose.runtime.results import results_folder

log = logging.getLogger("pose")


def evaluate_checkpoint(config: Config) -> Outcome | None:
    """What eval.py does: load the checkpoint, evaluate, write and print everything into `runtime.output`.

    Several ranks share the work; the first one merges, writes and prints, and the others return None.

    Raises:
        PoseError, UsageError: no checkpoint, one of another network, unusable data, unwritable output.
    """
    check_checkpoint(config, "to evaluate")
    need("pycocotools.coco")  # before the network has run over everything
    with results_folder(config.runtime.output, "eval") as folder:
        return _evaluate(config, folder)


def _evaluate(config: Config, folder: Path) -> Outcome | None:
    method = method_of(config)
    evaluator = Evaluator(method)
    files, records = result_files(folder, "eval_config.yaml")
    drawn = evaluator.drawn_files(folder / "pictures", config.eval.draw)
    check_targets(config, [*files, *drawn], records, evaluator.images.files)
    backend = open_backend(config, method.any_size, beside=True)
    log.info(
        f"evaluating {len(evaluator)} {method.unit} of {len(evaluator.images)} images, flip test: "
        f"{config.eval.flip_test}"
    )
    outcome = evaluator.run(backend, launched())
    if outcome is None:
        return None
    save_results(config, folder, "eval_config.yaml", outcome.results, evaluator.metrics(outcome))
    if config.eval.draw:
        pictures = evaluator.draw(outcome, folder / "pictures", config.eval.draw)
        log.info(f"{len(pictures)} pictures in {folder / 'pictures'}")
    log.info(describe_speed(outcome))
    log.info(f"results in {folder}")
    if not outcome.figures:
        log.info(f"no figures: {evaluator.annotations.path} annotates nobody")
        return outcome
    if evaluator.estimated_areas:
        log.info(f"not comparable with other AP: the areas of {evaluator.estimated_areas} people are estimated")
    log.info(format_table(outcome.figures))
    log.info(str(dict(outcome.figures)))
    log.info(f"AP: {outcome.figures['AP']}")
    return outcome
