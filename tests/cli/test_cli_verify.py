"""`piza data verify`: the commands as a user types them."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace

import pytest
from tests.dataset.checked import decided, record, write_photos
from tests.processes import first_line

from piza.cli.main import main
from piza.dataset.records import Decision, RecordWriter, read_records, write_records

RECORDS = [
    record(0, texts=("The red car on the left.",)),
    record(1, texts=("The hat of the man.",), doubt=0.8),
]


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "photos", RECORDS)
    write_records(tmp_path / "checked.jsonl", RECORDS)
    return tmp_path


def verify(folder, way, *arguments):
    common = ["data", "verify", way, str(folder / "checked.jsonl"), "--decisions", str(folder / "log.jsonl")]
    return main([*common, *map(str, arguments)])


def write_log(folder, *decisions):
    with RecordWriter(folder / "log.jsonl", Decision) as log:
        log.write(*decisions)


def test_rows_and_agreement_come_of_the_log(folder, capsys):
    people = ("ann", "bob")
    write_log(folder, *(decided(RECORDS[0], "accept", who) for who in people))
    write_log(
        folder,
        *(decided(RECORDS[1], choice, who) for who, choice in zip(people, ("accept", "reject"), strict=True)),
    )
    assert (
        verify(folder, "rows", "--out", folder / "rows.json", "--agreement", folder / "agreement.json") == 0
    )
    said = capsys.readouterr().out
    assert "1 rows in" in said and "1 kept, 0 rejected, 1 disputed, 0 open" in said
    assert "ann and bob: 2 in common, same choice 50.0 %, kappa 0.00; IoU of 1 boxes 1.00" in said
    assert main(["data", "check", str(folder / "rows.json"), "--images", str(folder / "photos")]) == 0
    agreement = json.loads((folder / "agreement.json").read_text())
    assert agreement["sentences"]["disputed"] == 1 and agreement["agreement"][0]["kappa"] == 0


def test_rows_can_be_split_as_sorec_is_without_the_records(folder, capsys):
    records = [
        replace(record(number, bbox=(10.0 + place, 20.0, 30.0, 40.0)), category=category)
        for number in range(5)
        for place, category in enumerate(("car", "dog", ""))
    ]
    write_photos(folder / "photos", records)
    write_records(folder / "checked.jsonl", records)
    write_log(folder, *(decided(one, "accept", sentence=place) for one in records for place in range(2)))
    rows, out = folder / "rows.json", folder / "parts"
    assert verify(folder, "rows", "--out", rows, "--reviewers", "1") == 0
    assert main(["data", "split", str(rows), "--images", str(folder / "photos"), "--out", str(out)]) == 0
    categories = {
        part: {row["category"] for row in json.loads((out / f"{part}.json").read_text())}
        for part in ("testA", "testB")
    }
    assert categories == {"testA": {"car"}, "testB": {"dog", "unknown"}}


def test_nothing_kept_writes_nothing(folder, capsys):
    write_log(folder, decided(RECORDS[0], "accept"))
    (folder / "rows.json").write_text("before")
    assert verify(folder, "rows", "--out", folder / "rows.json") == 2
    assert "no sentence was accepted or fixed by 2 people yet" in capsys.readouterr().err
    assert (folder / "rows.json").read_text() == "before"
    assert verify(folder, "rows", "--out", folder / "rows.json", "--reviewers", "1") == 0


def test_bad_input_gets_one_sentence(folder, capsys, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    (folder / "rows.json").write_text("[]")
    photos = folder / "photos"
    cases = [
        (("push", "--images", photos), "expected a token of Label Studio in LABEL_STUDIO_API_KEY"),
        (("push", "--images", photos, "--url", "nowhere"), "expected the address of Label Studio"),
        (("pull",), "the following arguments are required: --project"),
        (("pull", "--project", "1"), "expected a token"),
        (("page", "--images", folder), "there is no image 'photo 0.jpg'"),
        (("page", "--images", photos, "--port", "99999"), "expected a port from 0 to 65535"),
        (("rows", "--out", folder / "none" / "rows.json"), "does not exist"),
        (("rows", "--out", folder / "x.json", "--reviewers", "0"), "expected a whole number from 1 to"),
    ]
    for arguments, words in cases:
        assert verify(folder, *arguments) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    (folder / "log.jsonl").write_text((folder / "checked.jsonl").read_text())
    assert verify(folder, "rows", "--out", folder / "x.json") == 2
    assert (
        "expected a file of `piza data verify`, got a file of `piza data machine-check`"
        in capsys.readouterr().err
    )
    write_records(folder / "checked.jsonl", [])
    assert verify(folder, "rows", "--out", folder / "x.json") == 2
    assert "there are no sentences to decide about" in capsys.readouterr().err


def test_what_is_settled_is_not_pushed(folder, capsys, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123456789abcdef")
    write_log(folder, *(decided(one, "reject", who) for one in RECORDS for who in ("ann", "bob")))
    assert verify(folder, "push", "--images", folder / "photos") == 2
    assert "every sentence is settled" in capsys.readouterr().err


def test_a_page_that_is_killed_has_lost_no_decision(folder):
    pytest.importorskip("fastapi", reason="piza[serve] is not installed")
    command = [
        sys.executable,
        "-m",
        "piza",
        "data",
        "verify",
        "page",
        folder / "checked.jsonl",
        "--images",
        folder / "photos",
    ]
    command += ["--decisions", folder / "log.jsonl", "--port", "0"]
    for place in range(2):
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ)
        try:
            address = re.search(r"http://\S+", first_line(process))[0]
            with urllib.request.urlopen(f"{address}/review/next?who=ann", timeout=60) as answer:
                item = json.load(answer)
            assert item["place"] == place and item["left"] == 2 - place
            said = {"who": "ann", "key": item["key"], "decision": "accept", "text": "", "bbox": [0, 0, 1, 1]}
            body = json.dumps(said).encode()
            request = urllib.request.Request(
                f"{address}/review/{place}", body, {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=60).close()
            os.kill(process.pid, signal.SIGKILL if place == 0 else signal.SIGTERM)
            code = process.wait(60)
        finally:
            process.kill()
            process.stderr.close()
        assert code == (-signal.SIGKILL if place == 0 else 0)
        assert len(read_records(folder / "log.jsonl", Decision)) == place + 1


def test_rows_do_not_take_the_place_of_decisions(folder, capsys):
    write_log(folder, decided(RECORDS[0], "accept", "ann"))
    before = (folder / "log.jsonl").read_bytes(), (folder / "checked.jsonl").read_bytes()
    for out in (
        ["--out", folder / "log.jsonl"],
        ["--out", folder / "checked.jsonl"],
        ["--out", folder / "rows.json", "--agreement", folder / "log.jsonl"],
        ["--out", folder / "rows.json", "--agreement", folder / "rows.json"],
    ):
        assert verify(folder, "rows", "--reviewers", 1, *out) == 2
        assert "is read by the same command" in capsys.readouterr().err
    assert before == ((folder / "log.jsonl").read_bytes(), (folder / "checked.jsonl").read_bytes())
