"""Reviewing in Label Studio: what is made of its tasks, and the real program where it is installed.

`PIZA_LABEL_STUDIO=/path/to/label-studio` names it, or the address of one that runs; it is best installed into an
environment of its own.
"""

import copy
import http.server
import json
import re
import threading
from typing import ClassVar

import pytest
from tests.dataset.checked import decided, record, write_photos
from tests.dataset.label_studio_server import Person, program, serving

from piza.cli.main import main
from piza.dataset import label_studio_api
from piza.dataset.label_studio import decisions_of, push, task_of
from piza.dataset.label_studio_api import LabelStudio
from piza.dataset.records import Decision, read_records, write_records
from piza.errors import InputError

ONE = record(0)
EXPORT = "export?exportType=JSON&download_all_tasks=true"
USERS = {1: "ann@example.com", 2: "bob@example.com"}


def exported(choice="accept", who=1, place=0, one=ONE, **changes):
    """A task as Label Studio exports it."""
    task = copy.deepcopy(task_of(one, place, "/data/upload/1/a.jpg"))
    result = [*task.pop("predictions")[0]["result"]]
    result.append(
        {"from_name": "decision", "to_name": "photo", "type": "choices", "value": {"choices": [choice]}}
    )
    annotation = {
        "completed_by": who,
        "result": result,
        "was_cancelled": False,
        "updated_at": "2026-11-29T10:00:00.123456Z",
    }
    return {"id": 7, **task, "annotations": [annotation], **changes}


def pulled(*tasks):
    return decisions_of(tasks, {ONE.id: ONE}, USERS)


def part(task, name):
    return next(one for one in task["annotations"][0]["result"] if one["from_name"] == name)


@pytest.mark.parametrize("choice", ["accept", "reject"])
def test_a_box_and_words_that_nobody_touched_come_back_to_the_last_bit(choice):
    odd = record(0, bbox=(1 / 3, 200 / 7, 33.3, 41.1))
    found = decisions_of([exported(choice, one=odd)], {odd.id: odd}, USERS)
    assert found.problems == []
    (one,) = found.decisions
    assert (one.bbox, one.text, one.who, one.decision) == (odd.bbox, odd.sentences[0].text, USERS[1], choice)
    assert one.when == "2026-11-29T10:00:00.123+00:00"


def test_a_fix_has_its_words_and_its_box_in_pixels():
    task = exported("fix")
    part(task, "sentence")["value"]["text"] = ["A better sentence."]
    part(task, "box")["value"].update(x=10, y=20, width=95, height=5)
    (one,) = pulled(task).decisions
    assert (one.decision, one.text) == ("fix", "A better sentence.")
    assert one.bbox == pytest.approx((40, 60, 360, 15))  # cut off at the right edge


def test_who_accepts_and_yet_moved_the_box_has_fixed_it():
    task = exported("accept")
    part(task, "box")["value"]["x"] += 2
    (one,) = pulled(task).decisions
    assert one.decision == "fix" and one.bbox[0] == pytest.approx(ONE.bbox[0] + 8)


def drop(name):
    def change(task):
        result = task["annotations"][0]["result"]
        result[:] = [one for one in result if one["from_name"] != name]

    return change


def double(name):
    return lambda task: task["annotations"][0]["result"].append(copy.deepcopy(part(task, name)))


@pytest.mark.parametrize(
    "choice, change, words",
    [
        ("accept", lambda task: task["data"].update(text="Another."), "was changed by hand"),
        ("accept", lambda task: task["data"].update(bbox=[1, 2, 3, 4]), "was changed by hand"),
        ("accept", lambda task: task["data"].update(id="0"), "is about none of these sentences"),
        ("accept", lambda task: task["data"].update(sentence=9), "is about none of these sentences"),
        ("accept", lambda task: task.update(data=None), "is about none of these sentences"),
        ("maybe", lambda task: None, "ann@example.com chose maybe, expected accept, fix or reject"),
        ("accept", drop("decision"), "chose nothing"),
        ("fix", lambda task: None, "changed neither the sentence nor the box"),
        ("fix", double("box"), "left 2 boxes and 1 sentences"),
        ("fix", double("sentence"), "left 1 boxes and 2 sentences"),
        ("fix", lambda task: part(task, "sentence")["value"].update(text=[" "]), "the sentence is empty"),
        ("fix", lambda task: part(task, "box")["value"].update(width=0), "sides over 0"),
        ("fix", lambda task: part(task, "box")["value"].update(rotation=30), "rotated by 30 degrees"),
        ("fix", lambda task: part(task, "box")["value"].pop("x"), "has no x, y, width and height"),
        ("accept", lambda task: task["annotations"][0].update(updated_at="soon"), "which is no time"),
    ],
)
def test_what_was_changed_by_hand_is_told_and_the_others_come_back(choice, change, words):
    task = exported(choice)
    change(task)
    found = pulled(task, exported("accept", 2, place=1))
    assert [one.sentence for one in found.decisions] == [1]
    assert len(found.problems) == 1 and words in found.problems[0] and "task 7" in found.problems[0]


def test_tasks_without_an_annotation_or_with_a_skipped_one_wait():
    skipped = exported()
    skipped["annotations"][0]["was_cancelled"] = True
    assert pulled(exported(annotations=[]), skipped).unfinished == 2


class Rude(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test says: (status, body), one after the other."""

    answers: ClassVar[list] = []

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("Location", "http://elsewhere.example/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def rude(monkeypatch):
    monkeypatch.setattr(label_studio_api, "PAUSE", 0.01)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rude)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "answers, words",
    [
        ([(401, '{"detail": "Invalid token."}')], "refuses the token (Invalid token.)"),
        ([(404, "<html>")], "has nothing at /api/projects/3/"),
        ([(302, "")], "sends to 'http://elsewhere.example/'; give that address"),
        ([(200, "<html>a page</html>")], "does not speak as Label Studio does"),
        ([(200, "[1]")], "in a way that is not known here"),
        ([(500, "{}"), (429, "{}"), (503, "down")], "with status 503"),
        ([(200, '{"label_config": "<View/>"}')], 'has no name="decision" in its labeling setup'),
    ],
)
def test_a_server_that_is_rude_gets_a_sentence(rude, answers, words):
    Rude.answers = list(answers)
    with pytest.raises(InputError) as raised:
        push(LabelStudio(rude, "0123456789abcdef"), [], [], ".", "title", project=3)
    assert words in str(raised.value)


def test_a_server_that_stumbles_is_asked_again_but_nothing_is_made_twice(rude):
    Rude.answers = [(503, ""), (200, '{"id": 1}')]
    assert LabelStudio(rude, "0123456789abcdef").me() == {"id": 1}
    Rude.answers = [(503, ""), (200, '{"id": 1}')]
    with pytest.raises(InputError, match="status 503"):
        LabelStudio(rude, "0123456789abcdef").create_project("title", "<View/>", 2, "")


@pytest.mark.parametrize(
    "url, token, words",
    [
        ("localhost:8080", "abc", "expected the address of Label Studio"),
        ("http://localhost:8080", "", "expected a token"),
        ("http://localhost:8080", "a\nb", "expected a token"),
    ],
)
def test_an_address_or_a_token_that_is_none_is_told(url, token, words):
    with pytest.raises(InputError, match=words):
        LabelStudio(url, token)


def test_nobody_there_is_told():
    with pytest.raises(InputError, match=r"cannot use Label Studio at 'http://127\.0\.0\.1:9'"):
        LabelStudio("http://127.0.0.1:9", "0123456789abcdef").create_project("title", "<View/>", 2, "")


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="label-studio is not installed (PIZA_LABEL_STUDIO, PATH)")
def test_two_people_and_a_third_in_the_real_program(tmp_path, monkeypatch, capsys):
    records = [
        record(n, texts=(f'A "car" <b>n°</b> {n}.',), image=f'a "photo" ü{n % 2}.jpg', doubt=n / 10)
        for n in range(4)
    ]
    photos = write_photos(tmp_path / "photos", records)
    write_records(tmp_path / "checked.jsonl", records)
    log, out = tmp_path / "decisions.jsonl", tmp_path / "rows.json"
    with serving(tmp_path / "label-studio") as address:
        ann, bob, cid = (Person(address, name) for name in ("ann", "bob", "cid"))
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", ann.token)

        def verify(way, *arguments):
            common = [str(tmp_path / "checked.jsonl"), "--decisions", str(log)]
            code = main(
                ["data", "verify", way, *common, *(["--url", address] if way != "rows" else []), *arguments]
            )
            said = capsys.readouterr()
            return code, said.out + said.err

        code, said = verify("push", "--images", str(photos))
        assert code == 0 and "4 tasks added to project" in said
        first = re.search(r"project (\d+)", said)[1]
        assert "0 tasks added" in verify("push", "--images", str(photos), "--project", first)[1]
        tasks = {task["data"]["id"]: task for task in ann.ask(f"/api/projects/{first}/{EXPORT}")}
        order = sorted(tasks.values(), key=lambda task: task["id"])
        assert [task["data"]["text"] for task in order] == [
            one.sentences[0].text for one in reversed(records)
        ]
        assert len({task["data"]["image"] for task in order}) == 2  # a photo is uploaded once
        assert (
            ann._open(order[0]["data"]["image"], None, "image/jpeg")
            == (photos / records[3].image).read_bytes()
        )
        for person, choices in ((ann, "aafr"), (bob, "aaar")):
            for one, choice in zip(records, choices, strict=True):
                words = {"a": "accept", "f": "fix", "r": "reject"}[choice]
                person.annotate(tasks[one.id]["id"], words, "Better." if choice == "f" else None)
        code, said = verify("pull", "--project", first)
        assert code == 0 and "8 new decisions" in said and "2 kept, 1 rejected, 1 disputed, 0 open" in said
        assert (
            f"{ann.email} and {bob.email}: 4 in common, same choice 75.0 %, kappa 0.56; IoU of 3 boxes 1.00"
            in said
        )
        before = log.read_bytes()
        assert "0 new decisions" in verify("pull", "--project", first)[1] and log.read_bytes() == before
        # What the two dispute goes to a third.
        said = verify("push", "--images", str(photos))[1]
        second = re.search(r"1 tasks added to project (\d+), 1 in all; 3 sentences are settled", said)[1]
        (third,) = cid.ask(f"/api/projects/{second}/{EXPORT}")
        assert ann.ask(f"/api/projects/{second}/")["maximum_annotations"] == 1
        cid.annotate(third["id"], "fix", "Better.")
        cid.annotate(third["id"], "fix")  # and once more, with nothing changed
        code, said = verify("pull", "--project", second)
        assert code == 1 and "1 new decisions" in said and "chose fix, but changed neither" in said
        assert verify("rows", "--out", str(out))[0] == 0
        other = {"title": "by hand", "label_config": '<View><Image name="photo" value="$image"/></View>'}
        number = ann.ask("/api/projects/", other)["id"]
        assert 'has no name="decision" in its labeling setup' in verify("pull", "--project", str(number))[1]
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
        assert "refuses the token" in verify("pull", "--project", first)[1]
    rows = json.loads(out.read_text())
    assert [row["ref"] for row in rows] == [
        records[0].sentences[0].text,
        records[1].sentences[0].text,
        "Better.",
    ]
    assert rows[0] == {
        "image": 'a "photo" ü0.jpg',
        "bbox": [10, 20, 30, 40],
        "ref": 'A "car" <b>n°</b> 0.',
        "id": 1,
        "category": "car",
    }
    assert len(read_records(log, Decision)) == 9 and decided(records[0]).text == rows[0]["ref"]
