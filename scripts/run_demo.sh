#!/usr/bin/env bash
# Poses in a picture, a folder, a glob, a video, or what camera 0 sees:
#   bash scripts/run_demo.sh CONFIG CKPT INPUT [--fg] [section.key=value ...]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "CONFIG CKPT INPUT" \
    "configs/fastpose_r50_256x192.yaml fastpose.ckpt images/1.jpg demo.detector=yolov3 demo.detector_file=yolo.ckpt" "" "$@"
set -- "${given[@]}"

expect 3 3
config=$(recipe "$1")
ckpt=$(file CKPT "$2")
prepare --config "$config" --ckpt "$ckpt" "demo.input=$3"
launch demo demo.py
