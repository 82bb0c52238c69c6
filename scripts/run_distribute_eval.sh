#!/usr/bin/env bash
# AP of a checkpoint, people or pictures shared out over several cards of one host or more (docs/clusters.md):
#   bash scripts/run_distribute_eval.sh CONFIG CKPT DATASET [NUM_DEVICES=8] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
several_hosts=true
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG CKPT DATASET [NUM_DEVICES=8]" \
    "configs/fastpose_r50_256x192.yaml outputs/fastpose_r50_256x192/best.ckpt data/coco 8" Ascend "$@"
set -- "${given[@]}"

expect 3 4
devices "${4:-8}"
config=$(recipe "$1")
ckpt=$(file CKPT "$2")
dataset=$(folder DATASET "$3")
prepare --config "$config" --ckpt "$ckpt" "data.root=$dataset"
launch_ranks eval "${4:-8}" eval.py
