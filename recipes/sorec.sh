#!/usr/bin/env bash
# The rows of the paper's table at full size: each is one training, and an evaluation on val, testA and testB.
#
#   recipes/sorec.sh                            # all rows, trained on trainS and on trainL
#   recipes/sorec.sh trainS adapter_plus piza   # one row: SPLIT METHOD FORM (plain or piza)
#
# SOREC     the folder of trainS.json, trainL.json, val.json, testA.json and testB.json
# PHOTOS    the folder of SODA-D's photos, as they are distributed: one folder of JPEGs
# BASE      what is fine-tuned: a hub name or a folder
# OUT       where results go, a folder each
# PIZA      how to call the command, such as PIZA="accelerate launch -m piza" or "torchrun --nproc_per_node 4 -m piza"
#           (evaluations always run as a single process)
#
# The windows of a step are BATCH in every process; MICRO_BATCH of them go through the model together, which sets the memory.
# A run that was stopped goes on when it is started again; finished ones are only evaluated.
set -euo pipefail

SOREC=${SOREC:-data/sorec}
PHOTOS=${PHOTOS:-data/soda-d/images}
BASE=${BASE:-openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_grit_v3det}
OUT=${OUT:-runs/sorec}
PIZA=${PIZA:-piza}
BATCH=${BATCH:-8}
MICRO_BATCH=${MICRO_BATCH:-2}
PRECISION=${PRECISION:-fp32}

row() {
    local split=$1 method=$2 form=$3 out=$OUT/$1-$2-$3 plain=() searches=(default)
    [[ $form == plain ]] && plain=(--plain) || searches=(default greedy)
    mkdir -p "$OUT"
    $PIZA train "$SOREC/$split.json" --images "$PHOTOS" --base "$BASE" --out "$out" \
        --method "$method" ${plain[@]+"${plain[@]}"} --batch "$BATCH" --micro-batch "$MICRO_BATCH" --precision "$PRECISION" \
        --first-pixels 923 --later-pixels 800 --missing error
    for rows in val testA testB; do
        for search in "${searches[@]}"; do
            local greedy=()
            [[ $search == greedy ]] && greedy=(--greedy)
            echo "== $split $method $form, $rows, search: $search"
            piza evaluate "$SOREC/$rows.json" --images "$PHOTOS" --model "$out" --device "${DEVICE:-cuda}" \
                ${greedy[@]+"${greedy[@]}"} --predictions "$out/$rows-$search.jsonl" | tee "$out/$rows-$search.txt"
        done
    done
}

if [[ $# -eq 3 ]]; then
    row "$@"
elif [[ $# -eq 0 ]]; then
    for split in trainS trainL; do
        row $split full plain
        for method in coop lora adapter_plus; do
            for form in plain piza; do
                row $split $method $form
            done
        done
    done
else
    echo "usage: recipes/sorec.sh [trainS|trainL coop|lora|adapter_plus|full plain|piza]" >&2
    exit 2
fi
