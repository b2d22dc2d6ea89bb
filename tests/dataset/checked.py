"""Checked sentences about small drawn photos, for the tests of what people and machines make of them."""

import numpy as np
from PIL import Image

from piza.dataset.records import Checked, CheckedSentence, Decision, Finding, proposal_id

SIZE = (400, 300)


def record(
    number=0, texts=("The red car on the left.", "A red car beside a tree."), doubt=0.1, bbox=None, image=None
):
    image = image or f"photo {number}.jpg"
    bbox = bbox or (10.25 + number, 20.5, 30.0, 40.0)
    findings = (Finding("elsewhere", 0.9, "leads to another thing"),) if doubt > 0.5 else ()
    return Checked(
        id=proposal_id(image, bbox), image=image, width=SIZE[0], height=SIZE[1], bbox=bbox, category="car", score=0.5,
        source="mini", attributes=(), kept_because="it is small",
        sentences=tuple(CheckedSentence(text, "mini", findings=findings) for text in texts), doubt=doubt,
    )  # fmt: skip


def decided(
    one, decision="accept", who="ann", sentence=0, text=None, bbox=None, when="2026-11-29T10:00:00.000+00:00"
):
    text = one.sentences[sentence].text if text is None else text
    return Decision(one.id, sentence, decision, text, bbox or one.bbox, who, when)


def write_photos(folder, records):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(sorted({one.image for one in records})):
        pixels = np.random.default_rng(number).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder
