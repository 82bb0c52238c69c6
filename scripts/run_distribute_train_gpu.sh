#!/usr/bin/env bash
# Trains on several GPUs of one host or more (docs/clusters.md):
#   bash scripts/run_distribute_train_gpu.sh CONFIG NUM_DEVICES VISIBLE_DEVICES [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
several_hosts=true
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG NUM_DEVICES VISIBLE_DEVICES" \
    "configs/simplepose_r50_256x192.yaml 8 0,1,2,3,4,5,6,7 data.root=data/coco" GPU "$@"
set -- "${given[@]}"

if [ $# -ge 4 ] && [ $# -le 5 ] && is_number "$1" && is_recipe "$3"; then
    old_form AlphaPose "$3" "$1" "$2" "data.root=$4" ${5:+"model.pretrained=$5" model.maxpool=same}
fi
if [ $# = 5 ] && is_number "$2" && is_number "$3" && is_number "$4"; then
    old_form SimplePoseNet configs/simplepose_r50_256x192.yaml "$4" "$5" "output=$1" "train.batch_size=$2" \
        "train.epochs=$3"
fi

expect 3 3
devices "$2"
IFS=, read -ra visible <<<"$3"
[ "${#visible[@]}" = "$2" ] || usage_error "VISIBLE_DEVICES must name $2 devices, such as 0,1; it is $3"
config=$(recipe "$1")
export CUDA_VISIBLE_DEVICES=$3
prepare --config "$config"
launch_ranks train "$2" train.py
