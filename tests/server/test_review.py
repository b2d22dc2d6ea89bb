"""The page where people decide, asked over HTTP."""

import json

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from fastapi.testclient import TestClient
from tests.dataset.checked import decided, record, write_photos

from piza.dataset.decisions import Rules
from piza.dataset.records import Decision, RecordWriter, read_records
from piza.errors import InputError
from piza.server.review import Review, create_review

RECORDS = [record(0, doubt=0.2), record(1, texts=("A doubtful <b>sentence</b> here.",), doubt=0.9)]


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "photos", RECORDS)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "decisions.jsonl"


def opened(folder, log, reviewers=2):
    return Review(RECORDS, folder, RecordWriter(log, Decision), Rules(reviewers=reviewers), "ann")


@pytest.fixture
def client(folder, log):
    with TestClient(create_review(opened(folder, log), "127.0.0.1"), base_url="http://127.0.0.1") as client:
        yield client


def send(client, place, who="ann", decision="accept", **values):
    key = client.get(f"/review/{place}").json().get("key", "")
    body = {"who": who, "key": key, "decision": decision, "text": "", "bbox": [0, 0, 1, 1], **values}
    return client.post(f"/review/{place}", json=body)


def test_the_doubtful_come_first_and_a_decision_is_on_the_disk_when_it_is_answered(client, log):
    first = client.get("/review/next", params={"who": "ann"}).json()
    assert first["text"] == "A doubtful <b>sentence</b> here." and first["findings"] == [
        "leads to another thing"
    ]
    assert (first["left"], first["total"]) == (3, 3)
    assert send(client, first["place"]).json() == {"left": 2}
    (written,) = read_records(log, Decision)
    assert (written.who, written.decision, written.text) == ("ann", "accept", RECORDS[1].sentences[0].text)
    assert written.bbox == RECORDS[1].bbox
    second = client.get("/review/next", params={"who": "ann", "after": first["place"]}).json()
    assert second["place"] == 1
    assert client.get("/review/next", params={"who": "bob"}).json()["place"] == first["place"]


def test_a_page_of_other_sentences_decides_nothing(client, log):
    refused = send(client, 0, key="of-another-server-1")
    assert refused.status_code == 400 and "load it again" in refused.json()["error"]
    assert read_records(log, Decision) == []
    assert client.get("/review/next", params={"after": "\u00b2"}).status_code == 200


def test_two_settle_a_sentence_and_a_third_is_shown_only_what_is_disputed(client):
    for who in ("ann", "bob"):
        for place in range(3):
            send(client, place, who, "reject" if place == 1 and who == "bob" else "accept")
    done = client.get("/review/next", params={"who": "ann"}).json()
    assert done["done"] and done["counts"] == {"kept": 2, "rejected": 0, "disputed": 1, "open": 0}
    assert done["agreement"][0]["sentences"] == 3
    third = client.get("/review/next", params={"who": "cid"}).json()
    assert (third["place"], third["left"], third["disputed"]) == (1, 1, True)


def test_a_fix_keeps_its_words_and_box_and_can_be_gone_back_to(client, log):
    assert send(client, 0, decision="fix", text=" A better\tone. ", bbox=[1, 2, 3.5, 4]).status_code == 200
    written = read_records(log, Decision)[-1]
    assert (written.text, written.bbox) == ("A better one.", (1, 2, 3.5, 4))
    assert client.get("/review/0", params={"who": "ann"}).json()["mine"]["text"] == "A better one."
    send(client, 0, decision="reject")
    assert [one.decision for one in read_records(log, Decision)] == ["fix", "reject"]


def test_a_restart_goes_on_where_it_was(folder, log):
    review = opened(folder, log)
    with TestClient(create_review(review, "127.0.0.1"), base_url="http://127.0.0.1") as client:
        send(client, 0)
    with pytest.raises(InputError, match="another process is writing"):
        opened(folder, log)
    review.log.__exit__()
    with open(log, "a") as file:
        file.write('{"step": "verify", "id"')  # as a kill leaves it
    review = opened(folder, log)
    assert [review.waits_for(place, "ann") for place in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"who": "  "}, "expected your name"),
        ({"who": "a\x1b[31m"}, "expected your name"),
        ({"decision": "maybe"}, "accept"),
        ({"decision": "fix", "text": " ", "bbox": [1, 2, 3, 4]}, "the sentence is empty"),
        ({"decision": "fix", "text": "a car", "bbox": [390, 2, 30, 4]}, "reaches out of its photo"),
        ({"decision": "fix", "text": "a car", "bbox": [3, 2, 0, 4]}, "sides over 0"),
        (
            {"decision": "fix", "text": RECORDS[1].sentences[0].text, "bbox": list(RECORDS[1].bbox)},
            "nothing was changed",
        ),
        ({"text": "a" * 2000}, "1000"),
        ({"more": 1}, "no field 'more'"),
    ],
)
def test_what_cannot_be_used_is_refused_and_writes_nothing(client, log, values, words):
    answered = send(client, 0, **values)
    assert answered.status_code == 400 and words in answered.json()["error"]
    assert log.read_bytes() == b""


@pytest.mark.parametrize(
    "address", ["/review/3", "/review/-1", "/review/x", "/review/0/other.jpg", "/static/../review.py"]
)
def test_what_is_not_there_is_not_found(client, address):
    assert client.get(address).status_code == 404


def test_other_hosts_and_other_sites_are_refused(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.post("/review/0", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/review/0", content=b"x" * 200_000).status_code == 413


def test_photos_are_shown_and_one_that_went_away_or_changed_is_told(client, folder):
    for file in ("frame.jpg", "close.jpg"):
        assert client.get(f"/review/0/{file}").headers["content-type"] == "image/jpeg"
    (folder / "photo 0.jpg").unlink()
    answered = client.get("/review/1/frame.jpg")
    assert answered.status_code == 400 and "there is no image 'photo 0.jpg'" in answered.json()["error"]
    from PIL import Image

    Image.new("RGB", (50, 50)).save(folder / "photo 0.jpg")
    assert "it was changed since" in client.get("/review/1/frame.jpg").json()["error"]


def test_a_log_of_another_set_is_refused(folder, log):
    with RecordWriter(log, Decision) as other:
        other.write(decided(record(7)))
    with pytest.raises(InputError, match="another set's log"):
        opened(folder, log)
    assert len(log.read_text().splitlines()) == 1 and json.loads(log.read_text())["who"] == "ann"
