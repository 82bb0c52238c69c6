#!/usr/bin/env bash
# AP of an ONNX model on COCO, with ONNX Runtime (eval.log in the current folder):
#   bash scripts/run_eval_onnx.sh ONNX_PATH DATA_PATH [CONFIG] [section.key=value ...]
# CONFIG  recipe; - or left out: the model card beside the model
# PYTHON  interpreter (default: python on PATH)
set -euo pipefail

line="usage: bash $0 ONNX_PATH DATA_PATH [CONFIG] [section.key=value ...]"
usage() {
    echo "$line" >&2
    echo "error: $1" >&2
    exit 2
}

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    echo "$line"
    exit 0
fi
[ $# -ge 2 ] || usage "two arguments are needed, $# were given"
root=$(cd "$(dirname "$0")/.." && pwd)
model=$1 data=$2
shift 2
config=""
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then config=$1; shift; fi
[ -f "$model" ] || usage "model not found: $model"
[ -d "$data" ] || usage "data folder not found: $data"

common=(--ckpt "$model" --backend onnx "data.root=$data" "$@")
if [ -n "$config" ] && [ "$config" != - ]; then common=(--config "$config" "${common[@]}"); fi
"${PYTHON:-python}" "$root/eval.py" "${common[@]}" | tee eval.log
