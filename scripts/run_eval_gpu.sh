#!/usr/bin/env bash
# AP of a checkpoint, on one GPU:
#   bash scripts/run_eval_gpu.sh CONFIG CKPT DATASET [DEVICE_ID=0] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG CKPT DATASET [DEVICE_ID=0]" \
    "configs/simplepose_r50_256x192.yaml outputs/simplepose_r50_256x192/best.ckpt data/coco 0" GPU "$@"
set -- "${given[@]}"

if [ $# = 3 ] && ! is_recipe "$1" && [[ $2 == *.json ]]; then
    old_form SimplePoseNet configs/simplepose_r50_256x192.yaml "$1" data/coco "$3" "eval.bbox_file=$2"
fi

expect 3 4
evaluate "$1" "$2" "$3" "${4:-0}"
