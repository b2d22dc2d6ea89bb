"""Machines look at sentences before people do: what they doubt, and going on where a run was stopped."""

import json
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from piza.cli.main import main
from piza.dataset.doubt import AMBIGUOUS, BOX, ELSEWHERE, doubt_of, is_comparison
from piza.dataset.grounding import Answer, Grounded, SearchAsker, asker_of, painted_over
from piza.dataset.language_rules import MARK, LanguageRules
from piza.dataset.machine_check import SAID_TWICE, SAME_AS_ANOTHER, machine_check
from piza.dataset.records import Checked, Described, Sentence, proposal_id, read_records, write_records
from piza.errors import InputError
from piza.result import Result

TEXT = "The red car to the left of the white bus."
OWN, OTHER = (100.0, 80.0, 130.0, 100.0), (300.0, 80.0, 330.0, 100.0)


def seen(*found):
    return Grounded(
        np.array([box for box, _ in found]).reshape(-1, 4), np.array([share for _, share in found])
    )


SURE = Answer(seen((OWN, 0.97), (OTHER, 0.01)), seen((OTHER, 0.05)))


@pytest.mark.parametrize(
    "before, after, kind",
    [
        (seen((OWN, 0.97), (OTHER, 0.01)), seen((OTHER, 0.05)), None),
        (seen((OTHER, 0.95), (OWN, 0.001)), seen((OTHER, 0.96)), ELSEWHERE),
        (seen((OWN, 0.45), (OTHER, 0.42)), seen((OTHER, 0.97)), AMBIGUOUS),
        (seen(((115.0, 80.0, 145.0, 100.0), 0.95)), seen((OTHER, 0.3)), BOX),
    ],
)
def test_what_a_grounder_answers_becomes_a_finding(before, after, kind):
    found = doubt_of(TEXT, OWN, [Answer(before, after)]).finding
    assert (found and found.kind) == kind
    if kind in (ELSEWHERE, AMBIGUOUS):
        assert "at 300, 80 to 330, 100" in found.message


def test_who_compares_is_not_asked_what_is_left():
    assert is_comparison("the leftmost car") and is_comparison("The second sign from the left.")
    assert not is_comparison("The car on the left, almost hidden by a tree.") and not is_comparison(
        "a person in a vest"
    )
    answers = [Answer(SURE.before, seen((OTHER, 0.95)))]
    assert (
        doubt_of("The leftmost red car on the street.", OWN, answers).doubt
        < doubt_of(TEXT, OWN, answers).doubt
    )


def test_painting_over_hides_the_box_and_nothing_else():
    image = np.full((300, 400, 3), 90, np.uint8)
    image[80:100, 100:130] = (200, 30, 30)
    painted = painted_over(image, OWN)
    assert np.abs(painted.astype(int) - 90).max() <= 10
    image[:, 300:] = 10
    assert np.array_equal(painted_over(image, OWN)[:, 300:], image[:, 300:])
    assert painted_over(image, (0, 0, 400, 300)).shape == image.shape  # nothing is left around it


@dataclass
class RedFinder:
    """Finds red squares of 20 pixels, each as probable, whatever the sentence."""

    places: list = field(default_factory=lambda: [(40, 40), (200, 100)])

    def locate(self, image, sentences):
        there = [(x, y) for x, y in self.places if image[y + 10, x + 10, 0] > 150]
        share = 0.9 / max(len(there), 1)
        boxes = [((x, y, x + 20, y + 20), share) for x, y in there] or [((0.0, 0.0, 5.0, 5.0), 0.01)]
        size = (image.shape[1], image.shape[0])
        return [
            Result(s, boxes[0][0], boxes[0][1], [], size, "stop", 1.0, None, rejected=boxes[1:])
            for s in sentences
        ]


def red_squares(*places):
    image = np.full((200, 300, 3), 90, np.uint8)
    for x, y in places:
        image[y : y + 20, x : x + 20] = (200, 30, 30)
    return image


def test_any_grounder_is_asked_by_painting_the_thing_over():
    asker = SearchAsker(RedFinder(), "red")
    box = (200.0, 100.0, 220.0, 120.0)
    ((two,),) = asker.ask(red_squares((40, 40), (200, 100)), [(TEXT, box)])
    assert two.before.shares.tolist() == [0.45, 0.45] and two.after.boxes[0].tolist() == [40, 40, 60, 60]
    assert doubt_of(TEXT, box, [two]).finding.kind == AMBIGUOUS
    ((one,),) = asker.ask(red_squares((200, 100)), [(TEXT, box)])
    assert one.after.shares.tolist() == [0.01] and doubt_of(TEXT, box, [one]).finding is None


@dataclass
class Scripted:
    """An asker that is sure of every sentence; it breaks off after some photos."""

    name: str = "scripted"
    asked: list = field(default_factory=list)
    photos: int = 99

    def ask(self, image, questions):
        if len(self.asked) == self.photos:
            raise KeyboardInterrupt
        self.asked.append([text for text, _ in questions])
        return [[Answer(seen((box, 0.97)), seen((OTHER, 0.03)))] for _, box in questions]


def thing(image, x, *texts):
    bbox = (x, 20.0, 30.0, 20.0)
    return Described(
        proposal_id(image, bbox), image, 400, 300, bbox, "car", 0.5, "mini", (), "it is small",
        tuple(Sentence(text, "generator") for text in texts),
    )  # fmt: skip


THINGS = [
    thing("a.png", 10.0, "The red car near the tree on the left.", "A red car near a tree on the left."),
    thing("b.png", 10.0, "The car in the red box is parked there."),
    thing("a.png", 90.0, "The red car is positioned near the tree on the left."),
    thing("c.png", 10.0),
]


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        Image.new("RGB", (400, 300), (90, 90, 90)).save(tmp_path / f"{name}.png")
    write_records(tmp_path / "described.jsonl", THINGS)
    return tmp_path


def check(folder, asker, out="checked.jsonl", **rules):
    return machine_check(folder / "described.jsonl", folder, folder / out, asker, LanguageRules(**rules))


def kinds(record):
    return [[finding.kind for finding in sentence.findings] for sentence in record.sentences]


def test_findings_of_language_and_twins_stand_with_their_sentences(folder):
    done = check(folder, Scripted())
    found = {record.id: record for record in read_records(folder / "checked.jsonl", Checked)}
    first, marked, twin, silent = (found[one.id] for one in THINGS)
    assert kinds(first)[0] == [SAME_AS_ANOTHER] and kinds(first)[1] == [SAME_AS_ANOTHER, SAID_TWICE]
    assert kinds(marked) == [[MARK]] and kinds(twin) == [[SAME_AS_ANOTHER]]
    assert marked.doubt == 1 and (silent.sentences, silent.doubt) == ((), 0)
    assert (done.sentences, done.doubted, done.kinds[SAME_AS_ANOTHER]) == (4, 4, 3)


def test_a_run_that_was_stopped_goes_on_and_asks_nothing_twice(folder):
    check(folder, Scripted(), "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        check(folder, Scripted(photos=1))
    with open(folder / "checked.jsonl", "a") as file:
        file.write('{"step": "check", "id"')  # as a kill leaves it
    again = Scripted()
    assert check(folder, again).before == 2
    assert again.asked == [["The car in the red box is parked there."]]
    assert (folder / "checked.jsonl").read_text() == (folder / "whole.jsonl").read_text()


def test_a_photo_that_vanished_or_changed_is_left_out_and_tried_again(folder):
    (folder / "b.png").unlink()
    [why] = check(folder, Scripted()).failed
    assert "there is no image 'b.png'" in why
    there = {record.id for record in THINGS if record.image != "b.png"}
    assert {record.id for record in read_records(folder / "checked.jsonl", Checked)} == there
    Image.new("RGB", (40, 30)).save(folder / "b.png")
    done = check(folder, Scripted())
    assert "it was changed since" in done.failed[0] and done.before == len(there) and not done.checked
    shutil.copy(folder / "a.png", folder / "b.png")
    assert check(folder, Scripted()).checked == 1


def test_no_photo_is_there(folder):
    for photo in folder.glob("*.png"):
        photo.unlink()
    with pytest.raises(InputError, match="no photo can be looked at: there is no image"):
        check(folder, Scripted())


def test_other_settings_or_other_sentences_are_not_mixed_in(folder):
    check(folder, None)
    with pytest.raises(InputError, match="was begun with asked null, now it is"):
        check(folder, Scripted())
    with pytest.raises(InputError, match="was begun with min_words 4, now it is 3"):
        check(folder, None, min_words=3)
    write_records(
        folder / "described.jsonl", [thing("a.png", 10.0, "Another sentence about the car."), *THINGS[1:]]
    )
    with pytest.raises(InputError, match="with other sentences than"):
        check(folder, None)


def test_the_command_says_what_is_doubtful(folder, capsys):
    common = ["data", "machine-check", str(folder / "described.jsonl"), "--images", str(folder)]
    out = str(folder / "checked.jsonl")
    assert main([*common, "--out", out, "--language-only"]) == 0
    said = capsys.readouterr().out
    assert "4 things checked; 4 of 4 sentences are doubtful" in said and SAME_AS_ANOTHER in said
    assert main([*common, "--out", out, "--language-only", "--min-words", "70"]) == 2
    assert "--min-words 70 is more than --max-words 60" in capsys.readouterr().err
    assert (
        main(["data", "machine-check", out, "--images", str(folder), "--out", str(folder / "x.jsonl")]) == 2
    )
    assert (
        "expected a file of `piza data describe`, got a file of `piza data machine-check`"
        in capsys.readouterr().err
    )


def test_the_embedded_model_doubts_planted_faults_more_than_right_sentences(tmp_path):
    import piza
    from piza.data.scenes import examples

    asker = asker_of(piza.load("mini"), "mini")
    right, wrong = [], []
    for seed, size in examples.SCENES[:2]:
        image, rows = examples.render_scene(seed, size)
        boxes = [row.box_xyxy for row in rows]
        questions = [(row.ref, box) for row, box in zip(rows, boxes, strict=True)]
        moved = [
            (row.ref, box)
            for row, box in zip(rows, [*boxes[1:], boxes[0]], strict=True)
            if tuple(box) != tuple(row.box_xyxy)
        ]
        for asked, doubts in ((questions, right), (moved, wrong)):
            answers = asker.ask(image, asked)
            doubts += [
                doubt_of(text, box, looks).doubt for (text, box), looks in zip(asked, answers, strict=True)
            ]
    assert len(wrong) >= 4 and np.mean(wrong) > np.mean(right) + 0.3, json.dumps([right, wrong])
