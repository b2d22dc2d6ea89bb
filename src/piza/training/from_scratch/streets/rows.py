"""Sentences about the real photos that `mini` is trained on.

    python -m piza.training.from_scratch.streets.rows --streets FOLDER --signs FOLDER --maybe teacher.jsonl
        --splits splits.json --split train --out rows.json [--colors colors.jsonl]
        [--written sentences.jsonl [--reworded with|without|only]]

Writes {"photos": [...], "rows": [...]}. A photo: key ("source/name"), width, height, and its objects, each with xyxy in
pixels, category, attributes ("color=red"), known (which kinds of attributes are known of it), certain (False: it may be
there, unlabeled) and visible (share). A row: key, sentence, xyxy, index (of the object in its photo), kind, and relevance:
for each object of the photo, in three texts (fits the target's description, fits an anchor's, is an anchor), "1", "0" or
"?" (`piza.data.scenes.relevance`). --splits: {"train": [key, ...], ...}. With --written the rows are those sentences, which
somebody wrote looking at the photos (lines {"key", "xyxy", "sentence", "reworded": [...]}), instead of generated ones; their
relevance is "?". "reworded" may be left out: the same said in other words, each a row of its own, unless --reworded says not.
What is boxed there but not labeled becomes an object; where "xyxy" is null, the sentence is true of nothing in the photo, and
goes into the photo's "absent".
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from piza.boxes import iou_matrix_xyxy
from piza.data.labels import LabeledBox, LabeledPhoto, read_labels
from piza.data.scenes.attributes import attribute_words
from piza.data.scenes.objects import SceneObject
from piza.data.scenes.relevance import relevance
from piza.data.scenes.signs import KINDS
from piza.data.scenes.write import pick_rows
from piza.data.sorec import read_rows
from piza.data.streets.objects import MaybeBox, street_objects
from piza.data.streets.sentences import street_sentences
from piza.errors import InputError
from piza.files import atomic_write
from piza.image import image_size, open_image
from piza.training.from_scratch.frames.cache import RELEVANCE_CODES
from piza.training.from_scratch.frames.sign_photos import core

SAME = 0.6  # IoU from which on a box that somebody wrote about is that of a labeled object
_TRAFFIC = ("car", "truck", "bus", "vehicle", "bicycle", "motorcycle")
_LIGHT = ("traffic light",)


@dataclass(frozen=True)
class Source:
    """What is to be known of a set of photos.

    trusted: categories that its labels leave out, taken from the detector. colors: whether pixels tell any. sided: False
    where photos may be mirrored. confirm: whether its boxes need a detector's agreement. sure_score: of trusted boxes. all_signs: False where only signs of known kinds are labeled.
    """

    trusted: tuple[str, ...] = _LIGHT
    colors: bool = True
    sided: bool = True
    confirm: bool = False
    sure_score: float = 0.5
    all_signs: bool = True


SOURCES = {
    "dawn": Source(),
    "highway": Source(sided=False),
    "camvid": Source(confirm=True, trusted=("truck", "bus", "bicycle", "motorcycle")),
    "unsplash": Source(trusted=(*_LIGHT, "bicycle", "motorcycle")),
    "tl_china": Source(trusted=(*_TRAFFIC, "person")),
    "signs": Source(trusted=(*_TRAFFIC, "person", *_LIGHT), sure_score=0.4, all_signs=False),
}
HAZY = ("fog", "sand")  # weather of photos whose colors are not to be trusted


def read_maybe(path: Path) -> dict[str, list[MaybeBox]]:
    """The detector's boxes by key: lines {"key", "boxes": [[x1, y1, x2, y2, score, class], ...]}."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        found[content["key"]] = [
            MaybeBox((*box[:4],), float(box[4]), str(box[5])) for box in content["boxes"]
        ]
    return found


def sign_photos(folder: Path) -> list[LabeledPhoto]:
    """The photos of signs, with the kind of each sign told by the names that it is given."""
    kinds = {name.lower(): kind for kind, values in KINDS.items() for name in values.names}
    boxes: dict[str, dict[tuple[float, ...], str]] = {}
    for row in read_rows(folder / "train.json"):
        name = core(row.expression).removeprefix("The ").lower()
        boxes.setdefault(row.image, {}).setdefault(row.box_xyxy, kinds.get(name, ""))
    photos = []
    for path in sorted((folder / "images").iterdir()):
        width, height = image_size(path)
        labeled = tuple(
            LabeledBox((box[0], box[1], box[2], box[3]), "sign", {"kind": kind} if kind else {})
            for box, kind in boxes.get(path.name, {}).items()
        )
        photos.append(LabeledPhoto(path.name, width, height, labeled))
    return photos


def source_photos(source: str, streets: Path, signs: Path) -> tuple[list[LabeledPhoto], Path]:
    """The labeled photos of a source and the folder they lie in."""
    if source == "signs":
        return sign_photos(signs), signs / "images"
    folder = streets / source
    return read_labels(folder / "boxes.jsonl", folder / "images", "jsonl"), folder / "images"


def photo_objects(
    photo: LabeledPhoto, folder: Path, source: Source, maybe: list[MaybeBox]
) -> list[SceneObject]:
    """The objects of a photo by the rules of its source."""
    colors = source.colors and photo.extra.get("weather") not in HAZY
    picture = open_image(folder / photo.image) if colors else None
    return street_objects(
        photo, picture, maybe, source.trusted, sure_score=source.sure_score, confirm=source.confirm
    )


def described(o: SceneObject) -> dict[str, Any]:
    """An object as it is written."""
    words = attribute_words(o)
    known = sorted({word.split("=")[0] for word in words}) if o.certain else []
    return {
        "xyxy": [round(v, 1) for v in o.box_xyxy],
        "category": o.category,
        "attributes": words,
        "known": known,
        "certain": o.certain,
        "visible": round(o.visible, 2),
    }


def written_relevance(values: np.ndarray) -> list[str]:
    """(n, 3) relevance in {0, 0.5, 1} -> three texts of a letter an object: "0", "?" or "1"."""
    letters = {value: letter for letter, value in RELEVANCE_CODES.items()}
    return ["".join(letters[float(v)] for v in column) for column in values.T]


def rows_of_photo(
    key: str,
    photo: LabeledPhoto,
    objects: list[SceneObject],
    source: Source,
    per_object: int,
    max_rows: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Sentences about a photo's objects, as they are written."""
    rng = np.random.default_rng([seed, *key.encode()])
    size = (photo.width, photo.height)
    sentences, facts = street_sentences(
        objects, size, rng, per_object, source.sided, all_signs=source.all_signs
    )
    return [
        {
            "key": key,
            "sentence": e.ref,
            "xyxy": [round(v, 1) for v in e.box_xyxy],
            "index": e.index,
            "kind": e.kind,
            "relevance": written_relevance(relevance(e, facts)),
        }
        for e in pick_rows(sentences, max_rows, rng)
    ]


def read_written(path: Path, reworded: str = "with") -> dict[str, list[dict[str, Any]]]:
    """Sentences that somebody wrote, by the photo's key: "with" the same in other words, "without", or these "only"."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        others = content.pop("reworded", [])
        sentences = {"with": [content["sentence"], *others], "without": [content["sentence"]], "only": others}
        told = [content | {"sentence": sentence} for sentence in sentences[reworded]]
        if told:
            found.setdefault(content["key"], []).extend(told)
    return found


def written_rows(key: str, told: list[dict[str, Any]], written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sentences about things in a photo as rows. `told` are its objects as they are written; what is none of them is added."""
    rows = []
    for content in written:
        if content["xyxy"] is None:
            continue
        box = np.array([content["xyxy"]], float)
        overlap = iou_matrix_xyxy(box, np.array([o["xyxy"] for o in told], float).reshape(-1, 4))[0]
        if not len(told) or overlap.max() < SAME:
            told.append(
                {
                    "xyxy": content["xyxy"],
                    "category": "thing",
                    "attributes": [],
                    "known": [],
                    "certain": True,
                    "visible": 1.0,
                }
            )
            index = len(told) - 1
        else:
            index = int(overlap.argmax())
        rows.append(
            {"key": key, "sentence": content["sentence"], "xyxy": told[index]["xyxy"], "index": index}
        )
    unknown = ["?" * len(told)] * 3
    return [row | {"kind": "written", "relevance": unknown} for row in rows]


def told_photos(
    streets: Path, signs: Path, maybe: dict[str, list[MaybeBox]], keys: set[str]
) -> Iterator[tuple[str, LabeledPhoto, list[SceneObject], Source]]:
    """Key, photo, objects and source of every photo among `keys`."""
    for name in sorted({key.split("/")[0] for key in keys}):
        if name not in SOURCES:
            raise InputError(f"there is no source {name!r}; known are {', '.join(SOURCES)}")
        photos, folder = source_photos(name, streets, signs)
        for photo in photos:
            key = f"{name}/{photo.image}"
            if key in keys:
                yield (
                    key,
                    photo,
                    photo_objects(photo, folder, SOURCES[name], maybe.get(key, [])),
                    SOURCES[name],
                )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streets", type=Path, required=True, help="folder of the street photos' sources")
    parser.add_argument("--signs", type=Path, required=True, help="folder with images/ and train.json")
    parser.add_argument("--maybe", type=Path, required=True, help="a detector's boxes (JSON lines)")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--per-object", type=int, default=4)
    parser.add_argument("--max-rows", type=int, default=60, help="sentences a photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--written", type=Path, help="sentences to take instead of generated ones")
    parser.add_argument("--reworded", choices=("with", "without", "only"), default="with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--colors", type=Path, help="also write the boxes whose color is clear there (JSON lines)"
    )
    args = parser.parse_args()
    keys = set(json.loads(args.splits.read_text())[args.split])
    written = read_written(args.written, args.reworded) if args.written else {}
    if args.written:
        keys &= set(written)
    photos, rows, colored = [], [], []
    for key, photo, objects, source in told_photos(args.streets, args.signs, read_maybe(args.maybe), keys):
        told = [described(o) for o in objects]
        photos.append({"key": key, "width": photo.width, "height": photo.height, "objects": told})
        if args.written:
            rows += written_rows(key, told, written[key])
            photos[-1]["absent"] = [line["sentence"] for line in written[key] if line["xyxy"] is None]
        else:
            rows += rows_of_photo(key, photo, objects, source, args.per_object, args.max_rows, args.seed)
        boxes = [
            [*entry["xyxy"], word]
            for entry in told
            for word in entry["attributes"]
            if word.startswith("color=")
        ]
        colored.append(json.dumps({"key": key, "boxes": boxes}))
    with atomic_write(args.out) as part:
        part.write_text(json.dumps({"photos": photos, "rows": rows}))
    if args.colors:
        with atomic_write(args.colors) as part:
            part.write_text("".join(f"{line}\n" for line in colored))
    by_source = {name: sum(row["key"].startswith(f"{name}/") for row in rows) for name in SOURCES}
    print(f"{len(rows)} rows about {len(photos)} photos: {by_source}")


if __name__ == "__main__":
    main()
