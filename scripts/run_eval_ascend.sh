#!/usr/bin/env bash
# AP of a checkpoint, on one Ascend card:
#   bash scripts/run_eval_ascend.sh CONFIG CKPT DATASET [DEVICE_ID=0] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG CKPT DATASET [DEVICE_ID=0]" \
    "configs/openpose_vgg19_368.yaml outputs/openpose_vgg19_368/best.ckpt data/coco 0" Ascend "$@"
set -- "${given[@]}"

if [ $# = 4 ] && ! is_recipe "$1" && [[ $3 == *.json ]]; then
    old_form OpenPose configs/openpose_vgg19_368.yaml "$1" "$(dirname "$2")" "$4" "data.val_images=$2" \
        "data.val_annotations=$3"
fi

expect 3 4
evaluate "$1" "$2" "$3" "${4:-0}"
