"""Files between the steps: what is read, what is refused, and how a step goes on after a kill."""

import json
import subprocess
import sys

import pytest

from piza.dataset.records import (
    Checked,
    CheckedSentence,
    Decision,
    Described,
    Finding,
    Proposal,
    RecordWriter,
    Sentence,
    proposal_fields,
    proposal_id,
    read_records,
    to_line,
    write_records,
)
from piza.errors import InputError


def proposal(number=0, **changes):
    values = dict(
        id=f"p{number}", image="a/1.jpg", width=640, height=480, bbox=(10.0, 20.0, 12.5, 8.0), category="car", score=0.5,
        source="mini", attributes=("color=red",), kept_because="it is small",
    )  # fmt: skip
    return Proposal(**{**values, **changes})


RECORDS = [
    proposal(),
    Described(**proposal_fields(proposal()), sentences=(Sentence("the ‘red’ car 車.", "m", "short"),)),
    Checked(
        **proposal_fields(proposal()),
        sentences=(CheckedSentence("a.", "m", "", (Finding("short", 0.5, "one word"),)),),
        doubt=0.5,
    ),
    Decision("p0", 1, "fix", "the car.", (1.0, 2.0, 3.0, 4.0), "Ada", "2026-11-29T12:00:00+00:00"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.STEP)
def test_what_is_written_is_read(tmp_path, record):
    path = tmp_path / "x.jsonl"
    write_records(path, [record])
    assert json.loads(path.read_text())["step"] == record.STEP
    assert read_records(path, type(record)) == [record]


def test_id_is_of_photo_and_box():
    first = proposal_id("a\\b.jpg", (1, 2, 3.0, 4))
    assert first == proposal_id("a/b.jpg", (1.0, 2.0, 3.001, 4.0))
    assert len({first, proposal_id("a/c.jpg", (1, 2, 3, 4)), proposal_id("a/b.jpg", (1, 2, 3, 4.01))}) == 3


def changed(**fields):
    values = {**json.loads(to_line(proposal())), **fields}
    return json.dumps({key: value for key, value in values.items() if value is not Ellipsis})


FAULTS = {
    "another step": (to_line(RECORDS[1]), r"line 2, field 'step'.*piza data propose.*piza data describe"),
    "no step": (changed(step=...), r"line 2, field 'step'.*null"),
    "rows over several lines": ("[", r"line 2: expected one JSON object.*file of rows begins so"),
    "rows": ('[{"image": "a.jpg"}]', r"line 2: expected one JSON object.*file of rows"),
    "no JSON": ("{broken}", r"line 2: expected one JSON object"),
    "text as number": (changed(score="3"), r"line 2: score: expected a valid number, got '3'"),
    "no score": (changed(score=...), r"line 2: score"),
    "NaN": (changed(score=float("nan")), r"line 2: score"),
    "field nobody knows": (changed(colour="red"), r"line 2: colour"),
    "box of corners": (changed(bbox=[600, 400, 630, 430]), r"line 2: bbox: .*reaches out.*640 x 480"),
    "box without area": (changed(bbox=[1, 1, 0, 4]), r"line 2: bbox: expected"),
    "three numbers": (changed(bbox=[1, 1, 4]), r"line 2: bbox"),
    "leads out": (changed(image="../secret.jpg"), r"line 2.*leads out"),
    "same id": (changed(image="b.jpg"), r"line 2, field 'id': 'p0' is the id of line 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_name_file_line_and_field(tmp_path, name):
    line, expected = FAULTS[name]
    path = tmp_path / "x.jsonl"
    path.write_text(f"{to_line(proposal())}\n{line}\n")
    with pytest.raises(InputError, match=rf"(?s)x\.jsonl.*{expected}") as error:
        read_records(path, Proposal)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl"):
        read_records(tmp_path / "none.jsonl", Proposal)
    with pytest.raises(InputError, match="folder"):
        read_records(tmp_path, Proposal)


def test_cut_line_is_named_by_a_reader_and_dropped_by_the_writer(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(f"{to_line(proposal())}\n{to_line(proposal(1))[:50]}")
    with pytest.raises(InputError, match=r"line 2 is cut off; run `piza data propose` again"):
        read_records(path, Proposal)
    with RecordWriter(path, Proposal) as writer:
        assert writer.existing == [proposal()]
        writer.write(proposal(2), proposal(3))
    assert read_records(path, Proposal) == [proposal(), proposal(2), proposal(3)]


def test_writer_refuses_other_settings_steps_and_writers(tmp_path):
    path = tmp_path / "x.jsonl"
    with RecordWriter(path, Proposal, {"seed": 1, "share": [0.1, 0.2]}) as writer:
        writer.write(proposal())
        with pytest.raises(InputError, match="another process"):
            RecordWriter(path, Proposal)
    with pytest.raises(InputError, match=r"begun with seed 1, now it is 2"):
        RecordWriter(path, Proposal, {"seed": 2, "share": [0.1, 0.2]})
    with pytest.raises(InputError, match="step"):
        RecordWriter(path, Decision)
    with RecordWriter(path, Proposal, {"seed": 1, "share": (0.1, 0.2)}) as writer:
        assert writer.existing == [proposal()]


def test_killed_writer_loses_nothing_that_was_written(tmp_path):
    path = tmp_path / "x.jsonl"
    code = (
        "import os, sys\n"
        "from piza.dataset.records import Decision, RecordWriter\n"
        "with RecordWriter(sys.argv[1], Decision) as writer:\n"
        "    for n in range(3):\n"
        "        writer.write(Decision(str(n), 0, 'accept', 'x.', (0, 0, 1, 1), 'Ada', ''))\n"
        '    os.write(writer._file, b\'{"step": "ver\')\n'
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -9
    with RecordWriter(path, Decision) as writer:
        assert [d.id for d in writer.existing] == ["0", "1", "2"]


def test_full_disk_leaves_no_half_line(tmp_path):
    path = tmp_path / "x.jsonl"
    code = (
        "import resource, signal, sys\n"
        "from piza.dataset.records import Decision, RecordWriter\n"
        "from piza.errors import InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with RecordWriter(sys.argv[1], Decision) as writer:\n"
        "    for n in range(100):\n"
        "        writer.write(Decision(str(n), 0, 'accept', 'x.', (0, 0, 1, 1), 'Ada', ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "InputError: cannot write" in done.stderr and "x.jsonl" in done.stderr
    assert [d.id for d in read_records(path, Decision)] == [str(n) for n in range(7)]


@pytest.mark.parametrize(
    "own", ['[{"image": "a.jpg"}]', "notes of mine", '{"a": 1}\n{"b": 2}', '{"step": "verify"']
)
def test_a_file_of_somebody_else_is_never_emptied(own, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(own)
    with pytest.raises(InputError, match=r"rows\.json"), RecordWriter(path, Proposal, {}):
        pass
    assert path.read_text() == own


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_record_cut_within_a_character_is_dropped_and_a_strangers_line_is_not(cut, tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [to_line(Decision(name, 0, "accept", "x", (0, 0, 1, 1), "\U0001f600", "")) for name in "ab"]
    whole = f"{lines[0]}\n".encode()
    half = lines[1].encode()
    path.write_bytes(whole + half[: half.index("\U0001f600".encode()) + cut])
    with RecordWriter(path, Decision) as writer:
        assert [one.id for one in writer.existing] == ["a"]
    assert path.read_bytes() == whole
    path.write_bytes(stranger := whole + "mine: \u00e9".encode("latin-1"))
    with pytest.raises(InputError), RecordWriter(path, Decision):
        pass
    assert path.read_bytes() == stranger


@pytest.mark.parametrize("before, between, after", [(b"", b"\n", b""), (b"\xef\xbb\xbf", b"\r\n", b"\r\n")])
def test_records_that_an_editor_has_saved_are_gone_on_with(before, between, after, tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [to_line(Decision(name, 0, "accept", "x.", (0, 0, 1, 1), "Ada", "")).encode() for name in "abc"]
    path.write_bytes(before + between.join(lines[:2]) + after)
    with RecordWriter(path, Decision) as writer:
        writer.write(Decision("c", 0, "accept", "x.", (0, 0, 1, 1), "Ada", ""))
    assert [one.id for one in read_records(path, Decision)] == ["a", "b", "c"]


@pytest.mark.parametrize("settings", ["5", "[]", "null", '"x"'])
def test_settings_that_are_no_object_are_refused(settings, tmp_path):
    path = tmp_path / "x.jsonl"
    write_records(path, [proposal()])
    (tmp_path / "x.jsonl.settings.json").write_text(settings)
    with (
        pytest.raises(InputError, match=r"settings\.json': expected an object"),
        RecordWriter(path, Proposal, {}),
    ):
        pass
