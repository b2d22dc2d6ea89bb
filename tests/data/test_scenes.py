"""The scene generator: the same bytes from the same seed, true boxes, sentences that name one thing."""

import json

import cv2
import numpy as np
import pytest

from piza.data import scenes
from piza.data.scenes.language import MAX_PX, MIN_PX
from piza.data.scenes.meaning import Facts
from piza.data.scenes.palette import COLORS, color_match, sample_color, shades
from piza.data.scenes.scene import _draw
from piza.data.scenes.sign_faces import face
from piza.data.scenes.signs import KINDS
from piza.errors import InputError

SEEDS = range(300, 312)
SIZE = (2048, 1152)


@pytest.fixture(scope="module")
def rendered() -> list[scenes.Scene]:
    return [scenes.render(s) for s in SEEDS]


@pytest.fixture(scope="module")
def rows(rendered: list[scenes.Scene]) -> list[tuple[scenes.Scene, scenes.Expression]]:
    return [(s, e) for s in rendered for e in s.rows]


def test_same_seed_same_bytes(rendered: list[scenes.Scene]) -> None:
    again = scenes.render(SEEDS[0])
    assert again.image.tobytes() == rendered[0].image.tobytes()
    assert again.objects == rendered[0].objects and again.rows == rendered[0].rows
    assert rendered[0].image.tobytes() != rendered[1].image.tobytes()


def test_frames_are_rgb_of_the_asked_size(rendered: list[scenes.Scene]) -> None:
    assert all(s.image.shape == (1152, 2048, 3) and s.image.dtype == np.uint8 for s in rendered)
    large = scenes.render(5, (2560, 1920))
    assert large.image.shape == (1920, 2560, 3) and len(large.rows) > 5


def test_scenes_are_crowded_with_look_alikes(rendered: list[scenes.Scene], rows: list) -> None:
    assert np.mean([len(s.objects) for s in rendered]) >= 18
    assert min(len(s.rows) for s in rendered) >= 8
    for scene, e in rows:
        target, others = scene.objects[e.index], [o for k, o in enumerate(scene.objects) if k != e.index]
        assert e.hard_category == any(o.category == target.category for o in others)
        assert e.hard_color == any(o.color == target.color for o in others)
    assert np.mean([e.hard_category for _, e in rows]) > 0.7
    assert np.mean([e.hard_color for _, e in rows]) > 0.7


def test_targets_are_small_whole_and_inside(rows: list) -> None:
    for scene, e in rows:
        o = scene.objects[e.index]
        x0, y0, x1, y1 = e.box_xyxy
        assert e.box_xyxy == o.box_xyxy
        assert 0 < x0 < x1 < SIZE[0] and 0 < y0 < y1 < SIZE[1]
        assert MIN_PX <= max(x1 - x0, y1 - y0) <= MAX_PX
        assert (x1 - x0) * (y1 - y0) >= 1e-4 * SIZE[0] * SIZE[1] * 0.999  # 0.01 % of the frame
        assert o.visible >= 0.6 and not o.truncated


def test_boxes_of_all_objects_lie_in_the_frame(rendered: list[scenes.Scene]) -> None:
    for s in rendered:
        for o in s.objects:
            x0, y0, x1, y1 = o.box_xyxy
            assert 0 <= x0 < x1 <= SIZE[0] and 0 <= y0 < y1 <= SIZE[1]
            assert 0 < o.visible <= 1


def test_sentences_have_sound_length_and_form(rows: list) -> None:
    words = [len(e.ref.split()) for _, e in rows]
    assert min(words) >= 5 and max(words) <= 30 and 12 <= np.mean(words) <= 20
    for _, e in rows:
        assert e.ref[0].isupper() and e.ref.endswith(".") and "  " not in e.ref and "{" not in e.ref
        assert " a a" not in e.ref.replace(" a a", " a a", 1) or not any(
            f" a {v}" in e.ref for v in ("orange", "amber", "individual")
        )
    assert len({e.ref for _, e in rows}) > 0.9 * len(rows)


def test_all_kinds_of_sentences_occur(rows: list) -> None:
    kinds = [e.kind for _, e in rows]
    for k in ("attribute", "relation", "position", "superlative"):
        assert kinds.count(k) > 0.08 * len(kinds)


def test_meaning_names_exactly_the_target(rows: list) -> None:
    for scene, e in rows:
        value = Facts(scene.objects, SIZE).all(e.meaning)
        assert value[e.index] == 1 and np.delete(value, e.index).max() == 0


def _plainly_true(scene: scenes.Scene, clause: tuple, k: int) -> bool:
    """A second, plain reading of some clauses, straight from the objects."""
    o, w = scene.objects[k], SIZE[0]
    center = [(x0 + x1) / 2 for x0, _, x1, _ in (p.box_xyxy for p in scene.objects)]

    def group(clauses: tuple) -> list[int]:
        return [j for j in range(len(scene.objects)) if all(_plainly_true(scene, c, j) for c in clauses)]

    match clause:
        case ("sign", "kind", kind):
            return o.category == "sign" and o.attributes["kind"] == kind
        case ("noun", noun) if noun != "vehicle":
            return o.category == noun
        case ("color", color, shade):
            return o.color == color and shade in ("", o.shade)
        case ("at", "left"):
            return center[k] < 0.44 * w
        case ("at", "right"):
            return center[k] > 0.56 * w
        case ("most", "leftmost", clauses) if all(map(_plainly_read, clauses)):
            return k in group(clauses) and center[k] == min(center[j] for j in group(clauses))
        case ("most", "nearest", clauses) if all(map(_plainly_read, clauses)):
            return k in group(clauses) and o.depth == min(scene.objects[j].depth for j in group(clauses))
        case ("rel", ("left" | "just left"), anchor):
            return any(center[k] < center[j] for j in group(anchor) if j != k)
        case ("rel", ("mounted below" | "mounted above"), anchor):
            return any(scene.objects[j].pole == o.pole for j in group(anchor) if j != k)
    return True


def _plainly_read(clause: tuple) -> bool:
    """Whether the second reading knows all of the clause."""
    if clause[0] == "most":
        return clause[1] in ("leftmost", "nearest") and all(map(_plainly_read, clause[2]))
    return clause[:2] in (("at", "left"), ("at", "right")) or (
        (clause[0] in ("noun", "color") and clause[1] != "vehicle") or clause[:2] == ("sign", "kind")
    )


def test_a_plain_second_reading_agrees(rows: list) -> None:
    settled = 0
    for scene, e in rows:
        assert all(_plainly_true(scene, c, e.index) for c in e.meaning), e.ref
        if all(map(_plainly_read, e.meaning)):
            assert [
                k for k in range(len(scene.objects)) if all(_plainly_true(scene, c, k) for c in e.meaning)
            ] == [e.index]
            settled += 1
    assert settled >= 12


def test_an_object_left_out_changes_only_its_surroundings() -> None:
    full = _draw(77, SIZE)
    changed = 0
    for number in range(0, 40, 8):
        less = _draw(77, SIZE, without=number)
        gone = [
            o
            for o in full.objects
            if o.visible > 0.9 and o.box_xyxy not in {p.box_xyxy for p in less.objects}
        ]
        if not gone:
            continue
        x0, y0, x1, y1 = (int(v) for v in gone[0].box_xyxy)
        a, b = full.image[y0:y1, x0:x1].astype(int), less.image[y0:y1, x0:x1].astype(int)
        differs = np.abs(a - b).max(-1) > 12
        assert differs.mean() > 0.15, gone[0]
        # tight: something was drawn along every side of the box
        k = 2
        assert differs[:k].any() and differs[-k:].any() and differs[:, :k].any() and differs[:, -k:].any(), (
            gone[0]
        )
        changed += 1
    assert changed >= 2


def test_phrases_come_with_all_their_boxes(rendered: list[scenes.Scene]) -> None:
    scene = rendered[2]
    found = scenes.phrases(scene, np.random.default_rng(0))
    assert len(found) >= 10 and len({t for t, _ in found}) == len(found)
    several = 0
    for text, boxes in found:
        assert boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) >= 1 and 1 <= len(text.split()) <= 16
        several += len(boxes) > 1
    assert several >= 2
    for o in scene.objects:
        if o.category == "cone" and o.visible > 0.9 and o.clarity > 0.9:
            assert all(np.any(np.all(b == o.box_xyxy, 1)) for t, b in found if t in ("cone", "traffic cone"))


def test_more_sentences_on_request(rendered: list[scenes.Scene]) -> None:
    s = rendered[0]
    more = scenes.expressions(s.objects, SIZE, np.random.default_rng(1), per_object=6)
    assert len(more) > len(s.rows) and len({e.ref for e in more}) == len(more)
    assert scenes.expressions([], SIZE, np.random.default_rng(1)) == []


def test_confusable_colors_never_settle_a_sentence() -> None:
    assert color_match("red", "", "red", "dark") == 1 and color_match("red", "", "blue", "") == 0
    assert color_match("gray", "", "silver", "") == 0.5 and color_match("blue", "dark", "black", "") == 0.5
    rng = np.random.default_rng(0)
    for c in COLORS:
        for shade in shades(c):
            assert all(0 <= v <= 255 for v in sample_color(rng, c, shade))
    blues = np.array([sample_color(rng, "blue") for _ in range(50)])
    assert (blues[:, 2] > blues[:, 0]).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_sign_is_drawn(kind: str) -> None:
    board = face(kind, 60, np.random.default_rng(1)).data
    assert (board[..., 3] > 0).mean() > 0.35
    assert len(np.unique(board[board[..., 3] > 250][:, :3] // 40, axis=0)) >= 2


def test_write_makes_a_readable_folder_and_the_same_bytes(tmp_path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    count = scenes.write(a, 2, seed=9, size=(1280, 720), expressions_per_image=5)
    scenes.write(b, 2, seed=9, size=(1280, 720), expressions_per_image=5)
    found = json.loads((a / "rows.json").read_text())
    assert (a / "rows.json").read_bytes() == (b / "rows.json").read_bytes()
    assert [r["id"] for r in found] == list(range(1, count + 1)) and 4 <= count <= 10
    names = sorted(p.name for p in (a / "images").iterdir())
    assert len(names) == 2 and {r["image"] for r in found} <= set(names)
    for name in names:
        assert (a / "images" / name).read_bytes() == (b / "images" / name).read_bytes()
        assert cv2.imread(str(a / "images" / name)).shape == (720, 1280, 3)
    for r in found:
        x, y, w, h = r["bbox"]
        assert all(isinstance(v, int) for v in r["bbox"]) and set(r) == {"image", "bbox", "ref", "id"}
        assert 0 <= x and 0 <= y and w > 0 and h > 0 and x + w <= 1280 and y + h <= 720
    assert sorted(p.name for p in a.iterdir()) == ["images", "rows.json"]


def test_write_is_the_same_with_several_workers(tmp_path) -> None:
    scenes.write(tmp_path / "a", 2, seed=3, size=(960, 540), workers=1)
    scenes.write(tmp_path / "b", 2, seed=3, size=(960, 540), workers=2)
    assert (tmp_path / "a/rows.json").read_bytes() == (tmp_path / "b/rows.json").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 0}, "count: expected .* got 0"),
        ({"count": 1, "size": (100, 90)}, "size is 100x90"),
        ({"count": 1, "expressions_per_image": 0}, "expressions_per_image: expected .* got 0"),
    ],
)
def test_write_refuses_nonsense(tmp_path, wrong: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        scenes.write(tmp_path / "x", **wrong)
