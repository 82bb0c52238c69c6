#!/usr/bin/env bash
# Trains on one Ascend card:
#   bash scripts/run_standalone_train.sh CONFIG [DEVICE_ID=0] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG [DEVICE_ID=0]" "configs/simplepose_r50_256x192.yaml 0 data.root=data/coco" Ascend "$@"
set -- "${given[@]}"

if [ $# = 0 ] && [ "${options[0]:-}" = --device_id ]; then
    old_form AlphaPose configs/fastpose_r50_256x192.yaml "${options[@]:1}"
fi
if [ $# = 3 ] && is_number "$2" && is_number "$3"; then
    old_form SimplePoseNet configs/simplepose_r50_256x192.yaml "$2" "output=$1" "train.batch_size=$3"
fi
if [ $# -ge 4 ] && [ $# -le 5 ] && ! is_recipe "$1"; then
    old_form OpenPose configs/openpose_vgg19_368.yaml "${5:-0}" "data.root=$(dirname "$1")" "data.train_images=$1" \
        "data.train_annotations=$2" "data.mask_dir=$3" "model.pretrained=$4"
fi

expect 1 2
number DEVICE_ID "${2:-0}"
config=$(recipe "$1")
prepare --config "$config" "runtime.device_id=${2:-0}"
launch train train.py
