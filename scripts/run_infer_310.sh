#!/usr/bin/env bash
# A MindIR on Ascend 310 or 310P, from COCO pictures to AP (acc.log in the current folder):
#   bash scripts/run_infer_310.sh MINDIR_PATH DATA_PATH NEED_PREPROCESS [DEVICE_ID] [CONFIG] [section.key=value ...]
# NEED_PREPROCESS  y: write the network's inputs first; n: they are there already
# CONFIG           recipe; - or left out: the model card beside the model
# INFER_BACKEND    lite on the device (default); mindir or onnx run the same way on any machine
# INFER_OUTPUT     folder for inputs and results (default: outputs/infer_310)
# PYTHON           interpreter (default: python on PATH)
set -euo pipefail

line="usage: bash $0 MINDIR_PATH DATA_PATH NEED_PREPROCESS(y|n) [DEVICE_ID] [CONFIG] [section.key=value ...]"
usage() {
    echo "$line" >&2
    echo "error: $1" >&2
    exit 2
}

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    echo "$line"
    exit 0
fi
if [[ ${2:-} == [yn] ]]; then # as SimplePoseNet documents it
    usage "DATA_PATH comes second: bash $0 $1 data/coco ${*:2}"
fi
[ $# -ge 3 ] || usage "three arguments are needed, $# were given"
root=$(cd "$(dirname "$0")/.." && pwd)
model=$1 data=$2 need=$3
shift 3
device=0 config=""
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then device=$1; shift; fi
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then config=$1; shift; fi
[ -f "$model" ] || usage "model not found: $model"
[ -d "$data" ] || usage "data folder not found: $data"
[[ $need == [yn] ]] || usage "NEED_PREPROCESS must be y or n, not $need"
[[ $device =~ ^[0-9]+$ ]] || usage "DEVICE_ID must be a number, not $device"
backend=${INFER_BACKEND:-lite}
[[ $backend == lite || $backend == mindir || $backend == onnx ]] ||
    usage "INFER_BACKEND must be lite, mindir or onnx, not $backend"

python=${PYTHON:-python}
common=(--ckpt "$model" "output=${INFER_OUTPUT:-outputs/infer_310}")
if [ -n "$config" ] && [ "$config" != - ]; then common=(--config "$config" "${common[@]}"); fi
common+=(--device_id "$device" "data.root=$data" "$@")

rm -f acc.log  # a figure of an earlier run must not pass for this one's
if [ "$need" = y ]; then
    "$python" "$root/data_to_bin.py" "${common[@]}"
fi
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$python" -m src.deploy.infer --backend "$backend" "${common[@]}"
"$python" "$root/postprocess.py" "${common[@]}" | tee .acc.log.part
mv .acc.log.part acc.log
