#!/usr/bin/env bash
# From a fresh clone to a trained and evaluated pose network, in minutes on a CPU:
#   bash scripts/quickstart.sh [NETWORK]        # -h lists the networks
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
network=${1:-simplepose}
config=configs/quickstart/$network.yaml
networks=$(cd configs/quickstart && printf '%s\n' *.yaml | sed 's/\.yaml$//' | paste -sd' ')
usage="usage: bash scripts/quickstart.sh [NETWORK]   networks: $networks"
if [[ " $* " == *" -h "* || " $* " == *" --help "* ]]; then
    echo "$usage"
    exit 0
fi
if [ $# -gt 1 ] || [ ! -f "$config" ]; then
    echo "$usage" >&2
    exit 2
fi
# What eval.py takes below, and what the demo does: top-down networks are told where the people are.
boxes=" eval.use_gt_bbox=true"
people=demo.boxes=data/sample/annotations/person_keypoints_val2017.json
download="PYTHONPATH=src python -m mspose download"
case $network in
    fastpose)
        recipe=fastpose_r50_256x192
        start="model.pretrained=resnet50.ckpt model.maxpool=same"
        ;;
    hrnet)
        recipe=hrnet_w32_256x192
        start="model.pretrained=hrnet_w32-36af842e.pth"
        ;;
    openpose)
        recipe=openpose_vgg19_368
        start="model.pretrained=vgg19-0-97_5004.ckpt"
        boxes=""
        people=""
        ;;
    rtmpose)
        recipe=rtmpose_m_256x192
        start="model.pretrained=cspnext-m_udp-aic-coco_210e-256x192-f2f7d6f6_20230130.pth"
        ;;
    simplepose)
        recipe=simplepose_r50_256x192
        start="model.pretrained=resnet50.ckpt model.maxpool=same"
        ;;
    vitpose)
        recipe=vitpose_b_256x192
        start="model.pretrained=mae_pretrain_vit_base_20230913.pth"
        ;;
esac
source scripts/env.sh
make_environment "$root"

output=outputs/quickstart/$network
begin=$SECONDS
echo "== 1/4 sample data: drawn people in COCO's format"
python -m mspose sample data/sample --workers 2
echo "== 2/4 training $network"
python train.py --config "$config" output="$output" train.resume=auto
echo "== 3/4 evaluation on people it has not seen"
python eval.py --config "$config" --ckpt "$output/best.ckpt" output="$output/eval" eval.draw=12
echo "== 4/4 demo on the same pictures"
python demo.py --config "$config" --ckpt "$output/best.ckpt" --input "data/sample/val2017/*[05].jpg" \
    $people output="$output/demo"

cat <<END

done in $((SECONDS - begin)) s
  figures   $output/eval/metrics.json
  curves    $output/curves.png
  pictures  $output/eval/pictures/ (prediction left, annotation right)
  demo      $output/demo/sheet.jpg, pictures/, predictions.json
next, with COCO itself:
  $download data/coco
  python train.py --config configs/$recipe.yaml $start
  python eval.py --config configs/$recipe.yaml --ckpt outputs/$recipe/best.ckpt$boxes
END
