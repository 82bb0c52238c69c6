#!/usr/bin/env bash
# AP of an ONNX model on COCO, with ONNX Runtime (eval.log in the current folder):
#   bash scripts/run_eval_onnx.sh ONNX_PATH DATA_PATH [CONFIG] [section.key=value ...]
# CONFIG  recipe; - or left out: the model card beside the model
# PYTHON  interpreter (default: python on PATH, or the environment of the other scripts where that has no ONNX Runtime)
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "ONNX_PATH DATA_PATH [CONFIG]" "simplepose.onnx data/coco" "" "$@"
set -- "${given[@]}"

expect 2 3
model=$(exported ONNX_PATH "$1" onnx)
data=$(folder DATA_PATH "$2")
common=(--ckpt "$model" --backend onnx "data.root=$data")
if [ "${3:--}" != - ]; then
    config=$(recipe "$3")
    common=(--config "$config" "${common[@]}")
fi
own_log eval.log
[ -n "${PYTHON:-}" ] || find_interpreter onnxruntime
"${PYTHON:-python}" "$root/eval.py" "${common[@]}" "${options[@]}" | tee eval.log
