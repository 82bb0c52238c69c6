#!/usr/bin/env bash
# Trains on several Ascend cards of one host or more (docs/clusters.md), started by msrun or by a rank table:
#   bash scripts/run_distribute_train.sh CONFIG [NUM_DEVICES=8] [RANK_TABLE_FILE] [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
several_hosts=true
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG [NUM_DEVICES=8] [RANK_TABLE_FILE]" "configs/simplepose_r50_256x192.yaml 8 data.root=data/coco" Ascend "$@"
set -- "${given[@]}"

if [ $# = 0 ] && [[ ${options[0]:-} == --is_model_arts || ${options[0]:-} == --run_distribute ]]; then
    old_form AlphaPose configs/fastpose_r50_256x192.yaml 8
fi
if [ $# = 3 ] && ! is_recipe "$1" && is_number "$3"; then
    old_form SimplePoseNet configs/simplepose_r50_256x192.yaml "$3" "$1" "output=$2"
fi
if [ $# = 5 ] && ! is_recipe "$1"; then
    old_form OpenPose configs/openpose_vgg19_368_8p.yaml 8 "$1" "data.root=$(dirname "$2")" "data.train_images=$2" \
        "data.train_annotations=$3" "data.mask_dir=$4" "model.pretrained=$5"
fi

expect 1 3
devices "${2:-8}"
config=$(recipe "$1")
table=
[ -z "${3:-}" ] || table=$(file RANK_TABLE_FILE "$3")
if [ -n "$table" ] && [ "$device" != Ascend ]; then
    echo "note: rank tables are for Ascend cards; msrun starts the processes on $device"
    table=
fi
prepare --config "$config"
launch_ranks train "${2:-8}" train.py "$table"
