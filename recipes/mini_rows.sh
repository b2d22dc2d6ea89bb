#!/usr/bin/env bash
# The rows of the paper's table at the scale of mini, on a computer without a graphics card: synthetic streets and photos of signs.
#
#   recipes/mini_rows.sh                       # trains all rows; recipes/study.py (make study) evaluates them
#   recipes/mini_rows.sh adapter_plus piza     # one row, METHOD FORM [SEED]: its training and its evaluation
#
# All rows start from one base and see the same rows of data, as many steps and as many windows a step. For a plain method
# every window is a frame; one that zooms sees two frames and six later windows, which take less than half the time.
#
# OUT     where data and results go: OUT/METHOD-FORM-SEED is a model folder
# BASE    a model without adapters; if it is not there, the stage `ground` in the work folder of recipes/train_mini.py
#         (MINI) is exported to it
# SIGNS   a folder with images/ and train.json in SOREC's format; without it, streets alone are used
# HELD    the rows of its held-out photos: those that the base has not seen either, as the stage `caches` wrote them
# SEEDS, STEPS, SCENES, TEST_SCENES    how much of it
# JOBS    trainings at a time, of one thread each
#
# A run that was stopped goes on when it is started again, and what is finished stays. The settings of
# MALLOC_... and GLIBC_TUNABLES that recipes/train_mini.py names save a fifth of the time here, too.
set -euo pipefail

OUT=${OUT:-runs/study}
MINI=${MINI:-runs/mini}
BASE=${BASE:-$OUT/base}
SIGNS=${SIGNS:-}
HELD=${HELD:-$MINI/signs_val.json}
SEEDS=${SEEDS:-0}
STEPS=${STEPS:-600}
SCENES=${SCENES:-1500}
TEST_SCENES=${TEST_SCENES:-160}
JOBS=${JOBS:-2}
PIZA=${PIZA:-python -m piza}
export OUT MINI BASE SIGNS HELD SEEDS STEPS SCENES TEST_SCENES JOBS PIZA OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

fail() {
    echo "mini_rows: $1" >&2
    exit 2
}

make_base() {
    [[ -f $BASE/model.safetensors ]] && return
    [[ -f $MINI/ground/checkpoint.safetensors && -f $MINI/progress/history.safetensors ]] ||
        fail "there is no base in '$BASE' and none to export in '$MINI'; the stages caches, close, ground and progress of recipes/train_mini.py make one, or give another with BASE"
    python recipes/train_mini.py export --work "$MINI" --stage ground --out "$BASE"
}

make_data() {
    local settings="scenes $SCENES, test scenes $TEST_SCENES, signs ${SIGNS:-none}, base $BASE, steps $STEPS"
    mkdir -p "$OUT"
    if [[ -f $OUT/settings ]]; then
        [[ $(<"$OUT/settings") == "$settings" ]] ||
            fail "'$OUT' was begun with: $(<"$OUT/settings"); now it is: $settings; give the same to go on, or another OUT"
        return
    fi
    [[ -z $SIGNS || -f $SIGNS/train.json ]] || fail "there is no train.json in SIGNS, '$SIGNS'"
    [[ -z $SIGNS || -f $HELD ]] || fail "which photos of signs are held out is not known: there is no '$HELD' (HELD)"
    # Seed 2026 is that of the rows mini is tested on, 31 that of the rows its search was fitted on.
    $PIZA data scenes "$OUT/streets" --count "$SCENES" --seed 100 --workers "$JOBS"
    $PIZA data scenes "$OUT/test_streets" --count "$TEST_SCENES" --seed 2026 --workers "$JOBS"
    $PIZA data scenes "$OUT/fit_streets" --count 20 --seed 31
    [[ -z $SIGNS ]] || ln -sfn "$(realpath "$SIGNS")" "$OUT/signs"
    python - <<'PYTHON'
import json, os
from pathlib import Path

out, signs = Path(os.environ["OUT"]), os.environ["SIGNS"]


def rows(file, folder):
    """Rows whose pictures are named from OUT on."""
    return [{**row, "image": f"{folder}/images/{row['image']}"} for row in json.loads(Path(file).read_text())]


parts = {
    "train": rows(out / "streets" / "rows.json", "streets"),
    "fit": rows(out / "fit_streets" / "rows.json", "fit_streets"),
    "scenes": rows(out / "test_streets" / "rows.json", "test_streets"),
}
if signs:
    parts["signs"] = rows(os.environ["HELD"], "signs")
    held = {row["image"] for row in parts["signs"]}
    photos = rows(out / "signs" / "train.json", "signs")
    parts["train"] += [row for row in photos if row["image"] not in held]
for name, found in parts.items():
    text = json.dumps([{**row, "id": number} for number, row in enumerate(found, start=1)])
    (out / f"{name}.json").write_text(text)
    print(f"{name}: {len(found)} rows of {len({row['image'] for row in found})} pictures")
PYTHON
    echo "$settings" >"$OUT/settings"
}

train() {
    local method=$1 form=$2 seed=$3 out=$OUT/$1-$2-$3 plain=() lr=2e-3 options=(--option embedding_dim=96)
    [[ -f $out/training/done ]] && return
    # Widths go with d_model, which is 96: the paper's go with 256.
    [[ $form == plain ]] && plain=(--plain)
    case $method in
        adapter_plus) options+=(--option image_bottleneck=48 --option text_bottleneck=48) ;;
        lora) options+=(--option rank=8 --option alpha=8) ;;
        full)
            lr=1e-3
            [[ $form == plain ]] || options+=(--option bottleneck=48)
            ;;
    esac
    echo "== $method, $form, seed $seed"
    $PIZA train "$OUT/train.json" --images "$OUT" --base "$BASE" --out "$out" --seed "$seed" \
        --method "$method" ${plain[@]+"${plain[@]}"} "${options[@]}" \
        --steps "$STEPS" --lr "$lr" --backbone-lr 1 --schedule cosine --max-grad-norm 2 --batch 8 --sentences-per-image 8 --augment \
        --min-scale 0.8 --workers 1 --device "${DEVICE:-cpu}"
    touch "$out/training/done"
}

if [[ $# -eq 2 || $# -eq 3 ]]; then
    [[ $1 =~ ^(coop|lora|adapter_plus|full)$ && $2 =~ ^(plain|piza)$ && ${3:-0} =~ ^[0-9]+$ ]] ||
        fail "'$*' is no row; METHOD is coop, lora, adapter_plus or full, FORM plain or piza, SEED a number"
    make_base
    make_data
    train "$1" "$2" "${3:-0}"
    [[ ${EVALUATE:-yes} == no ]] || python recipes/study.py --work "$OUT" --base "$BASE" --only "$1-$2-${3:-0}"
elif [[ $# -eq 0 ]]; then
    make_base
    make_data
    seeds=($SEEDS)
    # 1.7 and 0.75 seconds a step on one core, where nothing else runs.
    echo "8 rows of $STEPS steps, ${#seeds[@]} seeds, $JOBS at a time: about $((${#seeds[@]} * STEPS * 98 / 600 / JOBS)) minutes if none is done"
    # The long ones first.
    for seed in "${seeds[@]}"; do
        for form in plain piza; do
            for method in full coop adapter_plus lora; do
                echo $method $form $seed
            done
        done
    done | EVALUATE=no xargs -P "$JOBS" -L 1 "$0"
    echo "all rows are trained; make study evaluates them"
else
    fail "two or three words are wanted, METHOD FORM [SEED], or none for all rows"
fi
