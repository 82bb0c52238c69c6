#!/usr/bin/env bash
# A MindIR on Ascend 310 or 310P, from COCO pictures to AP (acc.log in the current folder):
#   bash scripts/run_infer_310.sh MINDIR_PATH DATA_PATH NEED_PREPROCESS [DEVICE_ID] [CONFIG] [section.key=value ...]
# NEED_PREPROCESS  y: write the network's inputs first; n: they are there already
# CONFIG           recipe; - or left out: the model card beside the model
# INFER_BACKEND    lite on the device (default); mindir, onnx or openvino run the same way on any machine
# INFER_CONVERT    y: convert the MindIR for the card first, by what export wrote beside it (MINDIR_PATH.ascend.sh; needs
#                  converter_lite on PATH), and run that; with lite only
# INFER_OUTPUT     folder for inputs and results (default: outputs/infer_310)
# PYTHON           interpreter (default: python on PATH, or the environment of the other scripts where that lacks the
#                  backend)
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"
begin "MINDIR_PATH DATA_PATH NEED_PREPROCESS(y|n) [DEVICE_ID] [CONFIG]" "simplepose.mindir data/coco y 0" "" "$@"
set -- "${given[@]}"

if [[ ${2:-} == [yn] ]]; then
    old_form SimplePoseNet "$1" data/coco "${@:2}"
fi

expect 3 5
data=$(folder DATA_PATH "$2")
[[ $3 == [yn] ]] || usage_error "NEED_PREPROCESS must be y or n, not $3"
number DEVICE_ID "${4:-0}"
backend=${INFER_BACKEND:-lite}
case $backend in
    lite | mindir) ending=mindir ;;
    onnx | openvino) ending=onnx ;;
    *) usage_error "INFER_BACKEND must be lite, mindir, onnx or openvino, not $backend" ;;
esac
model=$(exported MINDIR_PATH "$1" "$ending")
convert=${INFER_CONVERT:-n}
[[ $convert == [yn] ]] || usage_error "INFER_CONVERT must be y or n, not $convert"
if [ "$convert" = y ]; then
    [ "$backend" = lite ] || usage_error "INFER_CONVERT=y is for INFER_BACKEND=lite, not $backend"
    [ -f "$model.ascend.sh" ] || usage_error "INFER_CONVERT=y needs $model.ascend.sh: export.py writes it beside a MindIR"
    bash "$model.ascend.sh" lite
    model=${model%.*}_ascend.mindir
elif [ "$backend" = lite ] && [ -f "$model.ascend.sh" ]; then
    echo "note: INFER_CONVERT=y converts the model for the card first, by $model.ascend.sh; it starts faster then"
fi

own_log acc.log
if [ -z "${PYTHON:-}" ]; then
    case $backend in
        lite) find_interpreter numpy ;; # no package index has Lite itself: the program says where it comes from
        mindir) find_interpreter mindspore ;;
        onnx) find_interpreter onnxruntime ;;
        openvino) find_interpreter openvino ;;
    esac
fi
python=${PYTHON:-python}
common=(--ckpt "$model" "output=${INFER_OUTPUT:-outputs/infer_310}" --device_id "${4:-0}" "data.root=$data")
[ -z "$device" ] || common+=("runtime.device=$device")
if [ "${5:--}" != - ]; then
    config=$(recipe "$5")
    common=(--config "$config" "${common[@]}")
fi
common+=("${options[@]}")

rm -f acc.log  # a figure of an earlier run must not pass for this one's
trap 'rm -f .acc.log.part' EXIT
if [ "$3" = y ]; then
    "$python" "$root/data_to_bin.py" "${common[@]}"
fi
# python -m would look into the current folder first, which may have an mspose of its own.
"$python" -c '
import sys
sys.path[0] = sys.argv.pop(1)
from mspose.commands import main
sys.exit(main(["infer", *sys.argv[1:]]))' "$root/src" --backend "$backend" "${common[@]}"
"$python" "$root/postprocess.py" "${common[@]}" | tee .acc.log.part
mv .acc.log.part acc.log
