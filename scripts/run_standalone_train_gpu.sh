#!/usr/bin/env bash
# Trains on one GPU:
#   bash scripts/run_standalone_train_gpu.sh CONFIG [DEVICE_ID=0] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG [DEVICE_ID=0]" "configs/simplepose_r50_256x192.yaml 0 data.root=data/coco" GPU "$@"
set -- "${given[@]}"

if [ $# -ge 2 ] && [ $# -le 3 ] && is_recipe "$1" && ! is_number "$2"; then
    old_form AlphaPose "$1" 0 "data.root=$2" ${3:+"model.pretrained=$3" model.maxpool=same}
fi
if [ $# = 4 ] && is_number "$2" && is_number "$3" && is_number "$4"; then
    old_form SimplePoseNet configs/simplepose_r50_256x192.yaml "$4" "output=$1" "train.batch_size=$2" \
        "train.epochs=$3"
fi

expect 1 2
number DEVICE_ID "${2:-0}"
config=$(recipe "$1")
prepare --config "$config" "runtime.device_id=${2:-0}"
launch train train.py
