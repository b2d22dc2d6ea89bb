#!/usr/bin/env bash
# How `mini` learned real streets: a first look on a pretrained backbone, SOREC's words, and sentences about real photos.
#
#   STREETS=DIR SIGNS=DIR SOREC=DIR NANODET=nanodet_g.onnx VECTORS=minilm_words_128.npz recipes/train_streets.sh
#
# STREETS    photos with boxes: SOURCE/images/*.jpg and SOURCE/boxes.jsonl; SIGNS a folder with images/ and train.json
# SOREC      trainS.json and val.json (the sentences alone are read)
# NANODET    NanoDet-g trained on COCO (Apache-2.0); VECTORS word vectors (Apache-2.0)
# BASE       the model to begin with, whose later looks stay as they are (default: the embedded one)
# WORK, OUT  where everything goes, and the model folder it ends in
#
# A step that is interrupted goes on where it was when this is called again, and what is finished stays. One thread is used.
set -euo pipefail

: "${STREETS:?a folder}" "${SIGNS:?a folder}" "${SOREC:?a folder}" "${NANODET:?a file}" "${VECTORS:?a file}"
WORK=${WORK:-runs/streets}
OUT=${OUT:-$WORK/model}
BASE=${BASE:-src/piza/weights/mini}
PYTHON=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
RUN="$PYTHON -m piza.training.from_scratch"
WRITTEN=recipes/written_streets.jsonl
NAMED=recipes/named_regions.jsonl
ATTRIBUTES=src/piza/training/from_scratch/proposals/street_words.json
mkdir -p "$WORK"

# What is known of the photos, and sentences about them.
[[ -f $WORK/splits.json ]] || $RUN.streets.splits --streets "$STREETS" --signs "$SIGNS" --out "$WORK/splits.json"
$RUN.streets.teacher_boxes --nanodet "$NANODET" --streets "$STREETS" --signs "$SIGNS" --out "$WORK/teacher.jsonl"
for split in train val; do
    [[ -f $WORK/$split.json ]] || $RUN.streets.rows --streets "$STREETS" --signs "$SIGNS" --maybe "$WORK/teacher.jsonl" \
        --splits "$WORK/splits.json" --split $split --colors "$WORK/colors_$split.jsonl" --out "$WORK/$split.json"
done
[[ -f $WORK/written.json ]] || $RUN.streets.rows --streets "$STREETS" --signs "$SIGNS" --maybe "$WORK/teacher.jsonl" \
    --splits "$WORK/splits.json" --written "$WRITTEN" --out "$WORK/written.json"
cat "$WORK"/colors_{train,val}.jsonl > "$WORK/colors.jsonl"
$RUN.lists.drawn --count 2039 --out "$WORK/drawn.jsonl"
[[ -f $WORK/scenes/half_listed/frames.npy ]] || $PYTHON recipes/train_first_look.py scenes --work "$WORK/scenes"

# The words, and the matcher on lists without images.
[[ -d $WORK/base ]] || $RUN.words.vocabulary "$BASE" --texts "$SOREC/trainS.json" "$SOREC/val.json" "$SIGNS/train.json" \
    "$WRITTEN" "$NAMED" --vectors "$VECTORS" --out "$WORK/base" --model-out "$WORK/base"
$RUN.lists.train_matcher train --model "$WORK/base" --attributes $ATTRIBUTES --drawn "$WORK/drawn.jsonl" \
    --streets "$WORK/train.json" --sorec "$SOREC/trainS.json" "$SOREC/val.json" --out "$WORK/matcher" --steps 1400

# The proposal network; then what it lists, on which the region encoder is taught what people call things, and then together with
# the matcher sentences that were generated and that were written.
[[ -f $WORK/photos.jsonl ]] || $RUN.proposals.train labels --work "$WORK" --streets "$STREETS" --signs "$SIGNS" \
    --teacher "$WORK/teacher.jsonl" --splits "$WORK/splits.json" --colors "$WORK/colors.jsonl"
$RUN.proposals.train train --work "$WORK" --base "$BASE" --streets "$STREETS" --signs "$SIGNS" --nanodet "$NANODET" \
    --scenes "$WORK/scenes/half_listed" --steps 1700
$RUN.proposals.train export --work "$WORK" --base "$BASE" --out "$WORK/categories.safetensors"
# What people name beside its categories.
[[ -f $WORK/proposals.safetensors ]] || $RUN.regions.any_object --base "$BASE" --proposals "$WORK/categories.safetensors" \
    --work "$WORK" --streets "$STREETS" --signs "$SIGNS" --named "$NAMED" --written "$WRITTEN" \
    --scenes "$WORK/scenes/half_listed" --run "$WORK/any_object" --out "$WORK/proposals.safetensors" --steps 2000
$RUN.lists.cached --no-regions --proposals "$WORK/proposals.safetensors" --rows "$WORK"/{train,written}.json "$NAMED" \
    --streets "$STREETS" --signs "$SIGNS" --scenes "$WORK/scenes/half_listed" --max-scenes 1500 --views 2 --out "$WORK/lists"
joint() {
    $RUN.regions.train --cache "$WORK/lists" --rows "$WORK/train.json" --written "$WORK/written.json" --named "$NAMED" \
        --scenes "$WORK/scenes/half_listed" --streets "$STREETS" --signs "$SIGNS" --pixels "$WORK/pixels.bin" \
        --model "$WORK/base" --proposals "$WORK/proposals.safetensors" --nanodet "$NANODET" --vectors "$VECTORS" \
        --matcher "$WORK/matcher/matcher.safetensors" --sorec "$SOREC/trainS.json" "$SOREC/val.json" \
        --drawn "$WORK/drawn.jsonl" "$@"
}
joint --share 0.3 --only-names 5000 --steps 5000 --out "$WORK/names"
joint --share 0.3 --start "$WORK/names" --steps 4000 --out "$WORK/listed"

# Where in its crop each thing ends.
$RUN.regions.tighten --base "$BASE" --proposals "$WORK/listed/proposals.safetensors" --named "$NAMED" --rows "$WORK/train.json" \
    --scenes "$WORK/scenes/half_listed" --streets "$STREETS" --signs "$SIGNS" --pixels "$WORK/pixels.bin" \
    --run "$WORK/tighten" --out "$WORK/tight.safetensors" --steps 1200

# The matcher alone, on what the finished encoder says: many more sentences in the time.
$RUN.regions.matcher_alone --cache "$WORK/lists" --rows "$WORK/train.json" --written "$WORK/written.json" --named "$NAMED" \
    --scenes "$WORK/scenes/half_listed" --streets "$STREETS" --signs "$SIGNS" --pixels "$WORK/pixels.bin" --model "$WORK/base" \
    --base "$BASE" --proposals "$WORK/tight.safetensors" --matcher "$WORK/listed/matcher.safetensors" \
    --sorec "$SOREC/trainS.json" "$SOREC/val.json" --steps 2000 --out "$WORK/alone"

$RUN.assemble --base "$WORK/base" --proposals "$WORK/tight.safetensors" --matcher "$WORK/alone/matcher.safetensors" \
    --out "$WORK/assembled"

# The later looks, on windows of photos.
$RUN.later_looks --base "$WORK/assembled" --rows "$WORK/train.json" --written "$WORK/written.json" --streets "$STREETS" \
    --signs "$SIGNS" --scenes "$WORK/scenes/half_listed" --work "$WORK/later" --out "$OUT"
# Which listed objects are whole things, by what the region encoder tells of them.
$PYTHON recipes/fit_whole.py "$OUT" "$NAMED" --streets "$STREETS" --signs "$SIGNS" --write
echo "wrote $OUT; now fit its evidence on rows that are neither trained nor tested on: recipes/street_sets.py, recipes/calibrate.py"
