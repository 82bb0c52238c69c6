"""The package is `mspose`, which lies beside this file; `src` was its name until version 1.0.

This file is not installed. It answers `python -m src.X` and `import src` with what to write instead.
"""

import sys

_COMMANDS = {
    "src.data.download": "download",
    "src.data.sample": "sample",
    "src.data.ignore_mask": "ignore-mask",
    "src.checkpoints.convert": "convert",
    "src.config": "import-config",
    "src.detect": "detect",
    "src.deploy.infer": "infer",
}

if sys.argv[:1] == ["-m"]:  # what Python puts there while it looks for the module of `python -m`
    _module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    _arguments = " ".join(sys.argv[1:]).removeprefix("--import ")
    print(
        f"error: python -m {_module} is now: mspose {_COMMANDS.get(_module, '--help')} {_arguments}".rstrip()
        + "  (without an installed package: PYTHONPATH=src python -m mspose …)",
        file=sys.stderr,
    )
    sys.exit(2)
raise ImportError("the package is called mspose: from mspose import PoseEstimator (pip install ., or src on the path)")
