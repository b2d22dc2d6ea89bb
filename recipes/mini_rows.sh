#!/usr/bin/env bash
# The same table at the scale of mini, on a computer without a graphics card: synthetic streets and photos of signs.
#
#   recipes/mini_rows.sh                     # all rows
#   recipes/mini_rows.sh adapter_plus piza   # one row: METHOD FORM (plain or piza)
#
# BASE    a model without adapters: the stage `ground` of recipes/train_mini.py, exported. It is made from the work folder
#         of that recipe (MINI) if it is not there.
# SIGNS   a folder with images/ and train.json in SOREC's format; without it, streets alone are used
# OUT     where data and results go
# STEPS, SCENES    how much of it
set -euo pipefail

BASE=${BASE:-runs/mini/base}
MINI=${MINI:-runs/mini}
SIGNS=${SIGNS:-}
OUT=${OUT:-runs/mini_rows}
PIZA=${PIZA:-piza}
STEPS=${STEPS:-600}
SCENES=${SCENES:-300}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

mkdir -p "$OUT"
[[ -d $BASE ]] || python recipes/train_mini.py export --work "$MINI" --stage ground --out "$BASE"
[[ -f $OUT/streets/rows.json ]] || piza data scenes "$OUT/streets" --count "$SCENES" --seed 100
[[ -f $OUT/held_out/rows.json ]] || piza data scenes "$OUT/held_out" --count 20 --seed 200

# One file of rows; its pictures are below OUT. One photo of signs in five is held out.
OUT="$OUT" SIGNS="$SIGNS" python - <<'PYTHON'
import json, os
from pathlib import Path

out, signs = Path(os.environ["OUT"]), os.environ["SIGNS"]
parts = {"train": [], "val": []}


def take(part, rows, folder):
    for row in rows:
        number = len(parts[part]) + 1
        parts[part].append({**row, "image": f"{folder}/images/{row['image']}", "id": number})


take("train", json.loads((out / "streets" / "rows.json").read_text()), "streets")
take("val", json.loads((out / "held_out" / "rows.json").read_text()), "held_out")
if signs:
    if not (out / "signs").exists():
        (out / "signs").symlink_to(Path(signs).resolve(), target_is_directory=True)
    rows = json.loads((out / "signs" / "train.json").read_text())
    held = set(sorted({row["image"] for row in rows})[::5])
    take("train", [row for row in rows if row["image"] not in held], "signs")
    take("val", [row for row in rows if row["image"] in held], "signs")
for name, rows in parts.items():
    (out / f"{name}.json").write_text(json.dumps(rows))
PYTHON

row() {
    local method=$1 form=$2 out=$OUT/$1-$2 plain=() lr=2e-3 options=()
    [[ $form == plain ]] && plain=(--plain)
    case $method in
        adapter_plus) options=(--option image_bottleneck=48 --option text_bottleneck=48) ;;
        lora) options=(--option rank=8 --option alpha=8) ;;
        full) lr=1e-3 ;;
    esac
    $PIZA train "$OUT/train.json" --images "$OUT" --base "$BASE" --out "$out" \
        --method "$method" ${plain[@]+"${plain[@]}"} ${options[@]+"${options[@]}"} \
        --steps "$STEPS" --lr "$lr" --backbone-lr 1 --schedule cosine --clip 2 --batch 8 --sentences 8 --light \
        --first-pixels 576 --later-pixels 224 --smallest 0.8 --device cpu
    piza evaluate "$OUT/val.json" --images "$OUT" --model "$out" | tee "$out/val.txt"
}

if [[ $# -eq 2 ]]; then
    row "$@"
elif [[ $# -eq 0 ]]; then
    for method in coop lora adapter_plus full; do
        for form in plain piza; do
            row $method $form
        done
    done
else
    echo "usage: recipes/mini_rows.sh [coop|lora|adapter_plus|full plain|piza]" >&2
    exit 2
fi
