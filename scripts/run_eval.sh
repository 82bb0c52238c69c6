#!/usr/bin/env bash
# AP of a checkpoint on COCO's layout of pictures and annotations:
#   bash scripts/run_eval.sh DEVICE_TARGET CONFIG CKPT DATASET [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "DEVICE_TARGET CONFIG CKPT DATASET" \
    "Ascend configs/simplepose_r50_256x192.yaml outputs/simplepose_r50_256x192/best.ckpt data/coco" "" "$@"
set -- "${given[@]}"

if [ $# = 2 ] && is_number "$2"; then
    old_form AlphaPose Ascend configs/fastpose_r50_256x192.yaml "$1" data/coco "runtime.device_id=$2"
fi
if [ $# = 3 ] && [[ $2 == *.json ]] && is_number "$3"; then
    old_form SimplePoseNet Ascend configs/simplepose_r50_256x192.yaml "$1" data/coco "eval.bbox_file=$2" \
        "runtime.device_id=$3"
fi

expect 4 4
is_device "$1" || usage_error "DEVICE_TARGET must be Ascend, GPU or CPU, not $1"
device=${device:-$1}
evaluate "$2" "$3" "$4" 0
