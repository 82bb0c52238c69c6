#!/usr/bin/env bash
# Makes the environment and runs the tests: bash scripts/test.sh [pytest arguments]; -m "not slow" takes some three minutes
set -euo pipefail
if [[ " $* " == *" -h "* || " $* " == *" --help "* ]]; then
    echo "usage: bash scripts/test.sh [pytest arguments]   makes the environment, then runs linter, types and tests"
    exit 0
fi
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
source scripts/env.sh
make_environment "$root" requirements-dev.txt
python -m ruff check .
python -m ruff format --check .
python -m mypy
# Two at a time: most tests wait for a graph to be compiled on one core. A file's tests share what they made.
# In the order of tests/conftest.py: sorted by their number of tests, the longest ones would come last.
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
