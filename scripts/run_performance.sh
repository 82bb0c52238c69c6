#!/usr/bin/env bash
# Speed of training, without keeping what is trained: 100 steps, or train.performance_steps=N:
#   bash scripts/run_performance.sh CONFIG [NUM_DEVICES=1] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG [NUM_DEVICES=1]" "configs/simplepose_r50_256x192.yaml data.root=data/coco" "" "$@"
set -- "${given[@]}"

expect 1 2
devices "${2:-1}"
config=$(recipe "$1")
options=(train.performance_steps=100 "${options[@]}")
prepare --config "$config"
if [ "${2:-1}" = 1 ]; then
    launch performance train.py
else
    launch_ranks performance "$2" train.py
fi
