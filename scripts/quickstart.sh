#!/usr/bin/env bash
# From a fresh clone to a trained and evaluated pose network, in minutes on a CPU:
#   bash scripts/quickstart.sh [simplepose|openpose]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
network=${1:-simplepose}
config=configs/quickstart/$network.yaml
if [ $# -gt 1 ] || [ ! -f "$config" ]; then
    networks=$(cd configs/quickstart && ls -- *.yaml | sed 's/\.yaml$//' | paste -sd' ')
    echo "usage: bash scripts/quickstart.sh [NETWORK]   networks: $networks" >&2
    exit 2
fi
case $network in
    openpose)
        recipe=openpose_vgg19_368
        start="model.pretrained=vgg19-0-97_5004.ckpt"
        boxes=""
        ;;
    simplepose)
        recipe=simplepose_r50_256x192
        start="model.pretrained=resnet50.ckpt model.maxpool=same"
        boxes=" eval.use_gt_bbox=true"
        ;;
esac
source scripts/env.sh
make_environment "$root"

output=outputs/quickstart/$network
begin=$SECONDS
echo "== 1/3 sample data: drawn people in COCO's format"
python -m src.data.sample data/sample --workers 2
echo "== 2/3 training $network"
python train.py --config "$config" output="$output" train.resume=auto
echo "== 3/3 evaluation on people it has not seen"
python eval.py --config "$config" --ckpt "$output/best.ckpt" output="$output/eval" eval.draw=12

cat <<END

done in $((SECONDS - begin)) s
  figures   $output/eval/metrics.json
  curves    $output/curves.png
  pictures  $output/eval/pictures/ (prediction left, annotation right)
next, with COCO itself:
  python -m src.data.download data/coco
  python train.py --config configs/$recipe.yaml $start
  python eval.py --config configs/$recipe.yaml --ckpt outputs/$recipe/best.ckpt$boxes
END
