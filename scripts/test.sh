#!/usr/bin/env bash
# Makes the environment and runs the tests: bash scripts/test.sh [pytest arguments]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
source scripts/env.sh
make_environment "$root"
python -m ruff check .
exec python -m pytest "$@"
