"""A log is a table that spreadsheets read; what a full disk kept back is written later; the plot shows it."""

import csv

import pytest
from PIL import Image

from piza.training import log as module
from piza.training.log import TrainingLog, plot_log, read_log


def test_lines_are_appended_and_cut_where_a_run_goes_on(tmp_path):
    log = TrainingLog(tmp_path / "log.csv")
    for step in (10, 20, 30):
        log.add({"step": step, "loss": step / 10})
    again = TrainingLog(tmp_path / "log.csv", keep_to=20)  # the checkpoint was of step 20
    again.add({"step": 25, "loss": 9.0, "lr": 0.1})  # with a column that was not there
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["step", "loss", "lr"], ["10", "1.0", ""], ["20", "2.0", ""], ["25", "9.0", "0.1"]]


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_delays_lines_and_loses_none(first, tmp_path, monkeypatch):
    log = TrainingLog(tmp_path / "log.csv")
    if not first:
        log.add({"step": 0, "loss": 0})

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_write", full)
        patch.setattr(module, "open", full, raising=False)
        log.add({"step": 1, "loss": 1})
    log.add({"step": 2, "loss": 2})
    assert [line["step"] for line in read_log(tmp_path / "log.csv").lines] == ["0", "1", "2"][first:]


def test_the_plot_is_a_picture(tmp_path):
    log, checks = TrainingLog(tmp_path / "log.csv"), TrainingLog(tmp_path / "checks.csv")
    for step in range(1, 30):
        log.add({"step": step, "class": 3 / step, "loss": 9 / step, "norm": 1.0})
    for step in (10, 20):
        checks.add({"step": step, "acc50": 30 + step, "acc75": 20 + step, "macc": 10 + step})
    plot_log(tmp_path / "log.csv", tmp_path / "one.png")
    plot_log(tmp_path / "log.csv", tmp_path / "two.png", tmp_path / "checks.csv")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > 1.5 * one.width and len(set(one.convert("L").tobytes())) > 20


def damage(kind, content):
    """A log's bytes after an accident."""
    lines = content.splitlines(keepends=True)
    return {
        "cut": content[:-4],
        "bad bytes": lines[0] + lines[1] + b"\xff\xfe\x00\x80,,\r\n" + b"".join(lines[2:]),
        "letters": content.replace(b"20,", b"twenty,"),
        "extra columns": content.replace(b"\r\n30", b",9,9\r\n30"),
        "open quote": content.replace(b"20,", b'"20,'),
        "no header": b"".join(lines[1:]),
        "garbage": bytes(range(256)),
        "zeros": bytes(500),
    }[kind]


KINDS = ("cut", "bad bytes", "letters", "extra columns", "open quote", "no header", "garbage", "zeros")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_log_is_mended_with_a_word(kind, tmp_path):
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    for step in (10, 20, 30):
        log.add({"step": step, "loss": step / 10})
    damaged = damage(kind, path.read_bytes())
    path.write_bytes(damaged)
    reports = []
    again = TrainingLog(path, keep_to=30, report=reports.append)
    assert len(reports) == 1 and "log.csv" in reports[0]
    assert (tmp_path / "log.damaged.csv").read_bytes() == damaged
    again.add({"step": 40, "loss": 4.0})
    lines = read_log(path).lines
    assert lines[-1] == {"step": "40", "loss": "4.0"} and read_log(path).dropped == 0
    assert {line["step"]: line["loss"] for line in lines}.items() <= {
        "10": "1.0", "20": "2.0", "30": "3.0", "40": "4.0",
    }.items()  # fmt: skip
    plot_log(path, tmp_path / "plot.png")


@pytest.mark.parametrize("tenth", range(11))
def test_a_flipped_byte_anywhere_stops_neither_log_nor_plot(tenth, tmp_path):
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    for step in (10, 20, 30, 40):
        log.add({"step": step, "loss": step / 10, "lr": 1e-4})
    content = bytearray(path.read_bytes())
    content[min(len(content) - 1, tenth * len(content) // 10)] ^= 0x95
    path.write_bytes(content)
    TrainingLog(path, keep_to=40).add({"step": 50, "loss": 5.0, "lr": 1e-4})
    assert read_log(path).lines[-1]["step"] == "50"
    plot_log(path, tmp_path / "plot.png")
