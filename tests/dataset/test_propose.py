"""What becomes a proposal, where proposals come from, and a run that is stopped."""

import json

import numpy as np
import pytest
from PIL import Image

from piza.cli.main import main
from piza.data.labels import LabeledBox, LabeledPhoto
from piza.dataset import candidates
from piza.dataset.candidates import Candidate, labeled_boxes, tiled, windows
from piza.dataset.propose import propose
from piza.dataset.records import Proposal, read_records
from piza.dataset.selection import SelectionConfig, merge_duplicates, select
from piza.errors import InputError

SIZE = (1000, 1000)


def thing(x, y, side=20, category="car", score=0.9, **more):
    return Candidate((x, y, x + side, y + side), category, score, **more)


def kept(*things, **settings):
    return [k.candidate for k in select(things, SIZE, SelectionConfig(**settings)).kept]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (thing(500, 500, 39), "too large"),
        (thing(500, 500, 9.9), "too small"),
        (Candidate((500, 500, 511, 511), "car", 0.9), "too small"),  # 0.0121 %, but no side of 12 pixels
        (thing(1, 500), "cut off by the edge"),
        (thing(979, 500), "cut off by the edge"),
        (thing(500, 500, score=0.1), "low score"),
        (thing(500, 500, score=float("nan")), "low score"),
        (thing(500, 500, category="tree"), "other category"),
        (Candidate((500, 500, 500, 530), "car", 0.9), "no area"),
    ],
)
def test_what_is_no_proposal(candidate, reason):
    done = select([thing(200, 200), candidate], SIZE, SelectionConfig(categories=("car",)))
    assert [k.candidate for k in done.kept] == [thing(200, 200)]
    assert done.dropped == {reason: 1}
    assert all(word in done.kept[0].because for word in ("0.040 %", "score 0.90", "car 1 of 1", "upper left"))


def test_duplicates_are_merged_and_the_better_stays():
    best, shifted, other = thing(500, 500), thing(503, 500, score=0.5), thing(530, 500, score=0.4)
    part = Candidate(
        (501, 501, 519, 511), "car", 0.3
    )  # of the first: inside it, though they overlap by less than half
    far = Candidate((501, 501, 509, 509), "car", 0.35)  # much smaller: seen before or behind it
    assert merge_duplicates([other, part, far, shifted, best], 0.5) == [best, other, far]
    inside = Candidate((501, 501, 519, 511), "wheel", 0.3)
    assert merge_duplicates([best, inside], 0.5) == [best, inside]


def test_whole_things_come_first():
    part, whole = thing(200, 200, score=0.6, whole=0.05), thing(700, 200, score=0.5, whole=0.9)
    assert whole.worth == pytest.approx(0.5 ** (2 / 3) * 0.9 ** (1 / 3)) and part.worth < whole.worth
    unasked = thing(200, 700, score=0.55)
    assert unasked.worth == unasked.score
    done = select([part, whole, unasked], SIZE, SelectionConfig(min_score=0.3))
    assert [k.candidate for k in done.kept] == [whole, unasked] and done.dropped == {"low score": 1}
    assert "score 0.50, one whole thing 0.90;" in done.kept[0].because
    assert "whole thing" not in done.kept[1].because
    again = thing(702, 200, score=0.6, whole=0.5)  # of the same thing
    assert merge_duplicates([again, whole], 0.5) == [whole]


def test_box_without_category_takes_that_of_its_duplicate():
    mask = thing(500, 500, category="", score=0.95)
    assert merge_duplicates([mask, thing(501, 500, attributes=("color=red",))], 0.5) == [
        thing(500, 500, score=0.95, attributes=("color=red",))
    ]


def test_spread_over_kinds_and_places():
    cars = [thing(50 + 30 * n, 50, score=0.7 - n / 1000) for n in range(20)]
    rare = [thing(500, 500, category="bin", score=0.64), thing(900, 900, category="person", score=0.64)]
    chosen = kept(*cars, *rare, per_photo=5)
    assert len(chosen) == 5 and set(rare) <= set(chosen)
    assert kept(*reversed([*cars, *rare]), per_photo=5) == chosen
    assert kept(*cars, *rare, per_photo=5, categories=("bin",)) == rare[:1]


def test_shares_in_order():
    with pytest.raises(InputError, match="min_share below max_share"):
        SelectionConfig(min_share=0.01)


def test_tiles_show_everything_and_cut_nothing_off():
    """A detector of bright spots finds each spot whole, also on the border of tiles."""
    image = np.zeros((300, 400, 3), np.uint8)
    spots = [(10, 10, 20, 20), (195, 140, 207, 152), (380, 280, 399, 299), (190, 20, 260, 30)]
    for x1, y1, x2, y2 in spots:
        image[y1:y2, x1:x2] = 255

    def look(part):
        import cv2

        count, _, stats, _ = cv2.connectedComponentsWithStats((part[..., 0] > 0).astype(np.uint8))
        return [Candidate((x, y, x + w, y + h), "spot") for x, y, w, h, _ in stats[1:count].tolist()]

    for tiles in (1, 2, 3):
        seen = tiled(look, tiles)(image, "a.jpg")
        assert {tuple(map(int, c.xyxy)) for c in seen} == set(spots)
        assert len(windows((400, 300), tiles)) == 1 + tiles * tiles * (tiles > 1)


@pytest.mark.parametrize(("size", "looks"), [((1500, 2000), 1), ((1500, 2001), 5), ((9, 8), 1)])
def test_parts_of_a_photo_are_looked_at_by_themselves_where_it_is_large(size, looks):
    seen = []
    tiled(lambda part: seen.append(part.shape) or [])(np.zeros((*size, 3), np.uint8), "a.jpg")
    assert len(seen) == looks


def test_labels_of_the_right_size():
    photo = LabeledPhoto("a.jpg", 200, 100, (LabeledBox((1, 2, 3, 4), "car", {"color": "red", "n": 3}),))
    look = labeled_boxes([photo])
    image = np.zeros((100, 200, 3), np.uint8)
    assert look(image, "a.jpg") == [Candidate((1, 2, 3, 4), "car", 1.0, ("color=red",))]
    assert look(image, "b.jpg") == []
    with pytest.raises(InputError, match=r"'a\.jpg' has 100 x 100 pixels, but its labels are for 200 x 100"):
        look(image[:, :100], "a.jpg")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("1.png", "2.png", "10.png", "sub/1.png"):
        Image.new("RGB", (100, 100)).save(folder / name)
    return folder


CONFIG = SelectionConfig(max_share=0.05)


def spot(image, name):
    return [] if name == "2.png" else [Candidate((40.0, 40.0, 55.0, 55.0), "spot", 0.5)]


def test_run_goes_on_after_a_kill(photos, tmp_path):
    out, asked = tmp_path / "p.jsonl", []

    def killed_at_third(image, name):
        asked.append(name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return spot(image, name)

    with pytest.raises(KeyboardInterrupt):
        propose(photos, out, killed_at_third, "spots", CONFIG)
    # As if it had been killed between the third photo's proposals and the note that it is done.
    first = out.read_text()
    out.write_text(
        first + first.splitlines()[0].replace("1.png", "10.png").replace('"id": "', '"id": "x') + "\n"
    )
    done = propose(photos, out, killed_at_third, "spots", CONFIG)
    assert asked == ["1.png", "2.png", "10.png", "10.png"]
    assert (done.before, done.photos, done.proposals) == (2, 1, 1)
    assert [p.image for p in read_records(out, Proposal)] == ["1.png", "10.png"]
    whole = tmp_path / "whole.jsonl"
    propose(photos, whole, spot, "spots", CONFIG)
    assert out.read_text() == whole.read_text()


def test_other_settings_are_refused_and_folders_of_a_folder_taken(photos, tmp_path):
    out = tmp_path / "p.jsonl"
    propose(photos, out, spot, "spots", CONFIG, recursive=True)
    assert [p.image for p in read_records(out, Proposal)] == ["1.png", "10.png", "sub/1.png"]
    with pytest.raises(InputError, match=r"p\.jsonl' was begun with per_photo 20, now it is 3"):
        propose(photos, out, spot, "spots", SelectionConfig(max_share=0.05, per_photo=3))
    with pytest.raises(InputError, match="begun with source"):
        propose(photos, out, spot, "others", CONFIG)


def test_settings_that_kept_nothing_are_settings_too(photos, tmp_path):
    out = tmp_path / "p.jsonl"
    assert propose(photos, out, spot, "spots", SelectionConfig(min_share=0.4, max_share=0.5)).proposals == 0
    with pytest.raises(InputError, match="was begun with max_share"):
        propose(photos, out, spot, "spots", CONFIG)


def test_photos_that_cannot_be_read_are_named_and_tried_again(photos, tmp_path, capsys):
    (photos / "1.png").write_bytes(b"no picture")
    done = propose(photos, tmp_path / "p.jsonl", spot, "spots", CONFIG)
    assert len(done.failed) == 1 and "1.png" in done.failed[0]
    Image.new("RGB", (100, 100)).save(photos / "1.png")
    assert propose(photos, tmp_path / "p.jsonl", spot, "spots", CONFIG).photos == 1


def test_command_line_with_label_files(photos, tmp_path, capsys):
    boxes = tmp_path / "boxes.jsonl"
    line = {
        "image": "1.png",
        "width": 100,
        "height": 100,
        "boxes": [{"xyxy": [40, 40, 53, 55], "label": "car"}],
    }
    boxes.write_text(json.dumps(line))
    out = str(tmp_path / "p.jsonl")
    arguments = ["data", "propose", str(photos), "--boxes", str(boxes), "--out", out, "--max-share", "5"]
    assert main(arguments) == 0
    (only,) = read_records(out, Proposal)
    assert (only.category, only.source, only.bbox) == ("car", "labels", (40, 40, 13, 15))
    assert "1 proposals in 3 photos" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["data", "view", out, "--images", str(photos), "--out", str(page)]) == 0
    assert "kept because" in page.read_text() and only.id in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min-share", "2", "--max-share", "1"], "min_share below max_share"),
        (["--min-share", "x"], "number over 0"),
        (["--detector", "a/b"], "--labels"),
        (["--labels", "a"], "--detector"),
        (["--boxes", "none.json"], "does not exist"),
        (["--boxes", "none.json", "--tiles", "1"], "not for --boxes"),
        (["--model", "nothing"], "there is no model"),
    ],
)
def test_command_line_refuses(photos, tmp_path, capsys, arguments, message):
    out = tmp_path / "p.jsonl"
    assert main(["data", "propose", str(photos), "--out", str(out), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not out.exists()


def test_embedded_model_proposes_what_is_drawn(tmp_path):
    """Most proposals in a drawn street are its objects; categories and colors are named."""
    import piza
    from piza.boxes import iou_matrix_xyxy
    from piza.data.scenes import render

    scene = render(11, (1536, 864))
    model = piza.load("mini")
    seen = tiled(candidates.model_list(model), 1)(scene.image, "a.jpg")
    found = [k.candidate for k in select(seen, (1536, 864), SelectionConfig()).kept]
    things = np.array([o.box_xyxy for o in scene.objects])
    hits = iou_matrix_xyxy(np.array([c.xyxy for c in found]), things).max(1) >= 0.5
    assert len(found) >= 5 and hits.mean() >= 0.5
    assert any(word.startswith("color=") for c in found for word in c.attributes)
    every = np.array([c.whole for c in seen], float)
    assert every.min() >= 0 and every.max() <= 1 and every.std() > 0.1  # objects differ in it
