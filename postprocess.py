"""Evaluate raw results of a device, without MindSpore: python postprocess.py --config FILE output=DIR."""

import sys

from src.cli import run
from src.schema import Config


def postprocess(config: Config) -> None:
    from src.deploy.evaluate import evaluate_results

    evaluate_results(config)


if __name__ == "__main__":
    sys.exit(run("Turn the raw results of a device into keypoints and AP.", postprocess))
