"""Lists are told with less than is known, mirrored with their words, and never with what is held out."""

import json

import numpy as np
import pytest
import torch

from piza.model.region_encoder import STATE
from piza.training.from_scratch.lists.object_lists import (
    IGNORED,
    NONE,
    Blur,
    ListTeller,
    ObjectList,
    is_held_out,
    read_street_rows,
    sorec_lists,
    swap_sides,
)

WORDS = {
    word: place
    for place, word in enumerate(["category=car", "category=sign", "color=red", "arrow=left", "arrow=right"])
}
EXACT = Blur((1, 1), (1, 1), 0, 0)


def prompter(prompts):
    """Tokens: how often a sentence says left and right."""
    ids = torch.tensor([[p[0].count("left"), p[0].count("right")] for p in prompts])
    return ids, torch.ones_like(ids), torch.zeros(1)


def one_list(**changes):
    relevance = np.array([[1, 0, 0], [0.5, 0, 1]], np.float32)
    values = dict(
        xyxy=np.array([[0, 0, 20, 10], [60, 20, 80, 40]], float),
        size=(100, 50),
        words=[["category=car", "color=red"], ["category=sign", "arrow=left"]],
        rows=[("The car left of the sign.", 0, relevance)],
    )
    return ObjectList(**{**values, **changes})


def tell(lists, k=4, blur=EXACT, seed=0, rows=3):
    return ListTeller(WORDS, 2, prompter).tell(lists, k, rows, np.random.default_rng(seed), blur)


def test_all_that_is_known_is_told():
    told = tell([one_list()])
    assert told.features.shape == (1, 4, 2 + 5 + STATE + 1)
    assert (told.features[..., 7:-1] == 0).all()  # nothing is seen
    assert told.features[0, 0, 2:7].tolist() == [1, 0, 1, 0, 0] and told.features[0, 1, 2:7].tolist() == [
        0,
        1,
        0,
        1,
        0,
    ]
    assert told.boxes[0, 1].tolist() == pytest.approx([0.7, 0.6, 0.2, 0.4])
    assert told.aspect.tolist() == [0.5] and told.target.tolist() == [[0]]
    assert told.relevance[0, 0].tolist() == [[1, 0, 0], [0.5, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert (told.features[0, 2:, -1] < 0.3).all()  # fillers score low


def test_a_mirrored_list_is_mirrored_in_words_too():
    for seed in range(40):
        told = tell([one_list()], blur=Blur((1, 1), (1, 1), 0, 1e-6), seed=seed)
        left, right = told.ids[0, 0].tolist()
        assert (told.boxes[0, 0, 0] > told.boxes[0, 1, 0]) == (right == 1) and left + right == 1
        assert (told.features[0, 1, 2 + WORDS["arrow=right"]] > 0.9) == (right == 1)
    assert (
        swap_sides("Left of the rightmost kind=must_turn_left")
        == "Right of the leftmost kind=must_turn_right"
    )


def test_what_is_left_out_cannot_be_the_target():
    targets = set()
    for seed in range(60):
        lists = [one_list(absent=["The bus."]), one_list(rows=[])]
        told = tell(lists, k=2, blur=Blur((0, 0.5), (0, 1), 0.5, 1), seed=seed)
        assert ((told.features[..., 2:-1] >= 0) & (told.features[..., 2:-1] <= 1)).all()
        targets |= set(told.target.flatten().tolist())
    assert targets == {0, NONE, IGNORED}


def test_fewer_words_are_told_where_less_is_kept():
    said = tell([one_list()], blur=Blur((0, 0), (1, 1), 0, 0)).features[0, :2, 2:-1]
    assert said.sum() == 2 and said[:, :2].sum() == 2  # categories alone


def test_photos_of_sorec(tmp_path):
    rows = []
    for number in range(40):
        for place, noun in enumerate(("red car", "traffic light", "sign")):
            box = [100 * place + 10, 200, 30, 30]
            rows.append(
                {"image": f"{number}.jpg", "bbox": box, "ref": f"The {noun} is on the left.", "id": len(rows)}
            )
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    kept, held = (sorec_lists([tmp_path / "rows.json"], held_out=which) for which in (False, True))
    assert len(kept) + len(held) == 40 and 0 < len(held) == sum(is_held_out(f"{n}.jpg") for n in range(40))
    assert [len(one.words) for one in kept] == [3] * len(kept)
    assert kept[0].words[0] == ["category=car", "category=vehicle", "color=red"]
    assert not any(one.absent for one in kept)  # every photo has all categories
    assert tell(kept[:1]).aspect[0] > 0


def test_rows_about_photos(tmp_path):
    photo = {"key": "a/1.jpg", "width": 100, "height": 50, "objects": [
        {"xyxy": [0, 0, 20, 10], "attributes": ["category=car"], "certain": True},
        {"xyxy": [50, 0, 70, 10], "attributes": ["category=car"], "certain": False},
    ]}  # fmt: skip
    row = {
        "key": "a/1.jpg",
        "sentence": "The car.",
        "xyxy": [0, 0, 20, 10],
        "index": 0,
        "relevance": ["1?", "00", "00"],
    }
    (tmp_path / "rows.json").write_text(json.dumps({"photos": [photo, {**photo, "key": "b"}], "rows": [row]}))
    (one,) = read_street_rows(tmp_path / "rows.json")
    assert one.rows[0][:2] == ("The car.", 0) and one.rows[0][2][1].tolist() == [0.5, 0, 0]
    assert one.uncertain.tolist() == [False, True]
