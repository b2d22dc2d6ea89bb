"""The study's tables hold what the predictions say, and what is done is told from what is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from piza.data.sorec import Row as Asked
from piza.errors import InputError
from piza.evaluation.outcome import Outcome, predictions_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "recipes"))

import study  # noqa: E402
import study_table as table  # noqa: E402

PLAIN, GREEDY, BEST = (
    table.Row("lora", form, search)
    for form, search in (("plain", "frame"), ("piza", "greedy"), ("piza", "best"))
)
ADAPTER = [table.Row("adapter_plus", "piza", search) for search in ("best", "tiles")]


def outcome(index, iou, num_looks=1, picture=None):
    """An answer of this IoU about one of six pictures; the target has a thousandth of its area."""
    image = f"{index % 6 if picture is None else picture}.jpg"
    row = Asked(image, (10.0, 10.0, 30.0, 20.0), f"the red car {index}", index + 1)
    frame = (0.0, 0.0, 500.0, 400.0)
    return Outcome(
        index,
        row,
        (10.0, 10.0, 30.0, 10.0 + 10 * iou),
        0.5,
        iou,
        [frame],
        [frame],
        (500, 400),
        num_looks,
        "stop",
        7.0,
    )


def outcomes(*ious, num_looks=1):
    return [outcome(index, iou, num_looks) for index, iou in enumerate(ious)]


RIGHT, HALF = outcomes(*[1.0] * 12, num_looks=2), outcomes(*[1.0, 0.0] * 6)


def test_a_line_takes_all_seeds_together():
    line = table.line_of(GREEDY, "scenes", {0: RIGHT, 3: HALF}, 42)
    assert (line.macc, line.acc50, line.acc75) == (75.0, 75.0, 75.0)
    assert (line.rows, line.pictures, line.num_looks, line.trained) == (12, 6, 1.5, 42)
    assert line.by_seed == {0: 100.0, 3: 50.0}
    low, high = line.ranges["macc"]
    assert 50 <= low < 75 < high <= 100


def test_differences_are_paired_by_seed_and_row():
    some = table.difference({0: RIGHT[:10], 1: RIGHT}, {0: list(reversed(HALF))})
    assert (some.macc, some.other, some.ratio, some.rows) == (100.0, 50.0, 2.0, 10)
    assert (some.num_looks, some.other_looks) == (2.0, 1.0)
    low, high = some.range
    assert low <= 50 <= high
    assert table.difference({0: RIGHT}, {1: HALF}) is None


def cells(block, title, name):
    """The cells of the line of a table that begins with `name`."""
    part = block.partition(f"### {title}\n")[2].partition("###")[0]
    return next(line for line in part.splitlines() if line.startswith(f"| {name} |")).split(" | ")


def test_the_page_says_what_was_found_and_what_was_not_run():
    found = {(PLAIN, "scenes"): {0: HALF}, (GREEDY, "scenes"): {0: RIGHT}}
    lines = {key: table.line_of(*key, seeds, 1234) for key, seeds in found.items()}
    block = table.page_block(found, lines, ["study_macc.png"])
    assert cells(block, "Beside the paper", "LoRA")[1:4] == [
        "26.2 → 33.8 (×1.29)", "17.0 → 25.8 (×1.52)", "50.0 → 100.0 (×2.00)",
    ]  # fmt: skip
    assert "not run yet" in cells(block, "Beside the paper", "LoRA")[4]
    assert cells(block, "Zooming against not zooming", "LoRA")[1].startswith("+50.0 (+")
    assert cells(block, "Zooming against not zooming", "LoRA")[1].endswith("×2.00")
    assert "not run yet" in cells(block, "Zooming against not zooming", "CoOp")[1]
    row = cells(block, "All rows, scenes", "LoRA | PIZA | greedy, as published")
    assert row[3:5] == ["1,234", "100.0 (100.0 to 100.0)"] and row[7:10] == ["2.00", "7", "12"]
    assert block.count("](study_macc.png)") == 1


def test_nothing_run_says_so_everywhere():
    block = table.page_block({}, {})
    assert block.count("| not run yet |") > 2 * len(table.ROWS)
    assert "×1.35" in block  # the paper's numbers are there all the same


def test_tiles_are_compared_on_the_rows_both_were_asked():
    found = {
        (ADAPTER[0], "scenes"): {0: RIGHT, 1: RIGHT},
        (ADAPTER[1], "scenes"): {0: outcomes(1.0, 0.0, num_looks=84)},
    }
    found[table.BASE[1], "scenes"] = {0: outcomes(0.0, 0.0, 0.0, num_looks=84)}
    text = table.against_tiles(found)
    own, base = (
        next(x for x in text.splitlines() if f"| best first, as shipped | tile grid, {n}" in x).split(" | ")
        for n in ("the same", "base")
    )
    assert own[3:6] == ["2", "100.0", "50.0"] and own[7] == "2.0"
    assert base[3:6] == ["3", "100.0", "0.0"] and base[8].startswith("84.0")


def test_a_method_without_any_right_answer_breaks_no_table():
    none = outcomes(*[0.0] * 12)
    found = {(PLAIN, "scenes"): {0: none}, (GREEDY, "scenes"): {0: none}}
    lines = {key: table.line_of(*key, seeds) for key, seeds in found.items()}
    block = table.page_block(found, lines)
    assert cells(block, "Beside the paper", "LoRA")[3] == "0.0 → 0.0"
    assert "nan" not in block and "inf" not in block


def test_sizes_of_targets_are_told_apart():
    small = outcome(0, 1.0)
    large = outcome(1, 0.0)
    large.row = Asked("1.jpg", (0.0, 0.0, 400.0, 300.0), "the bus", 2)
    text = table.by_size({(table.Row("adapter_plus", "plain", "frame"), "signs"): {0: [small, large]}})
    values = [line.split(" | ") for line in text.splitlines() if line.startswith("| signs")]
    assert [(line[2], line[3]) for line in values] == [("1", "100.0"), ("1", "0.0")]


def test_the_page_is_filled_between_its_markers_only():
    page = f"# Before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.fill(page, "new")
    assert once == f"# Before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
    assert table.fill(once, "new") == once
    for broken in ("nothing", f"{table.END} {table.BEGIN}"):
        with pytest.raises(ValueError, match="the page has no"):
            table.fill(broken, "new")


def test_the_page_of_the_documentation_can_be_filled():
    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert "a table" in table.fill(page, "a table")


# --- what is done -----------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path):
    """A work folder with a base, two finished trainings of one row, an unfinished one, and what is none."""
    names = ("base", "adapter_plus-piza-0", "adapter_plus-piza-1", "lora-plain-0", "old-plain-0")
    for name in names:
        (tmp_path / name / "training").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").touch()
        if name != "lora-plain-0":
            (tmp_path / name / "training" / "done").touch()
    return tmp_path


def write(task, count, newer=10):
    task.file.parent.mkdir(parents=True, exist_ok=True)
    with predictions_file(task.file) as line:
        for index in range(count):
            line(outcome(index, 1.0).to_dict())
    stamp = study.weights_time(task.folder) + newer
    os.utime(task.file, (stamp, stamp))


def test_what_is_to_be_evaluated(work):
    tasks = study.tasks_of(work, work / "base", {"scenes": 40}, 30, 20)
    assert {(t.folder.name, t.row.search, t.limit) for t in tasks} == {
        ("base", "frame", 30), ("base", "tiles", 20), ("base", "sliding", 20),
        ("adapter_plus-piza-0", "greedy", 30), ("adapter_plus-piza-1", "greedy", 30),
        ("adapter_plus-piza-0", "best", 30), ("adapter_plus-piza-1", "best", 30),
        ("adapter_plus-piza-0", "tiles", 20), ("adapter_plus-piza-0", "sliding", 20),
        ("adapter_plus-piza-0", "oracle", 30), ("adapter_plus-piza-0", "quarter", 20),
    }  # fmt: skip
    assert len({t.file for t in tasks}) == len(tasks)
    assert {t.limit for t in study.tasks_of(work, work / "base", {"scenes": 7}, 30, 20)} == {7}


def test_what_was_evaluated_is_not_evaluated_again(work):
    task = study.tasks_of(work, work / "base", {"scenes": 40}, 8, 8)[0]
    assert study.predictions(task) is None
    write(task, 7)
    assert study.predictions(task) is None  # too few
    write(task, 12)
    assert [o.index for o in study.predictions(task)] == list(range(8))
    write(task, 12, newer=-10)
    assert study.predictions(task) is None  # of other weights


def test_commands_can_be_given(work):
    from piza.cli.main import _parser

    for task in study.tasks_of(work, work / "base", {"scenes": 40}, 8, 8):
        python, module, *rest = study.command(task, work)
        options = _parser().parse_args(rest)
        assert (python, module, options.predictions) == ("-m", "piza", str(task.file))


def test_results_are_written_from_predictions(work, monkeypatch):
    monkeypatch.setattr(study, "trained_parameters", lambda folder, method: 99)
    tasks = study.tasks_of(work, work / "base", {"scenes": 40}, 8, 8)
    page = work / "study.md"
    page.write_text(f"{table.BEGIN}{table.END}")
    assert "png" not in study.write_results(tasks, work / "results", page)  # nothing to draw yet
    for task in tasks[:5]:
        write(task, 8)
    study.write_results(tasks, work / "results", page)
    assert "study_looks.png" in page.read_text() and (work / "study_macc.png").exists()
    values = json.loads((work / "results" / "study.json").read_text())
    assert [v["search"] for v in values] == ["frame", "tiles", "sliding", "greedy"]
    assert (values[-1]["macc"], values[-1]["trained"], values[-1]["seeds"]) == (100.0, 99, "0 1")
    with Image.open(work / "results" / "study_looks.png") as picture:
        assert picture.width > 1000


def test_a_failed_evaluation_does_not_stop_the_others(capsys):
    done = []

    def fail():
        raise InputError("no such thing")

    calls = {"a": fail, "b": lambda: done.append("b"), "c": lambda: done.append("c")}
    assert study.run_all(1, calls) == 1
    assert done == ["b", "c"]
    assert "a: failed: no such thing" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--work", "missing"], ["--limit", "0"], []])
def test_bad_input_is_one_sentence(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "study").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["study.py", *options])
    assert study.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- scripts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", sorted((ROOT / "recipes").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_bash(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK)


def rows_script(place, *words, **variables):
    variables = {"OUT": str(place), "BASE": str(place / "base"), "MINI": str(place / "mini"), **variables}
    return subprocess.run(
        [ROOT / "recipes" / "mini_rows.sh", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lora"], "two or three words are wanted"),
        (["lora", "zoomed"], "is no row"),
        (["qlora", "plain"], "is no row"),
        (["lora", "plain", "one"], "is no row"),
        (["lora", "plain"], "there is no base in"),
        ([], "there is no base in"),
    ],
)
def test_rows_that_cannot_be_trained(words, said, tmp_path):
    done = rows_script(tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_what_is_trained_is_not_trained_again_and_other_settings_are_refused(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").touch()
    settings = f"scenes 5, test scenes 160, signs none, base {tmp_path}/base, steps 600"
    (tmp_path / "settings").write_text(settings)
    for method in ("coop", "lora", "adapter_plus", "full"):
        for form in ("plain", "piza"):
            (tmp_path / f"{method}-{form}-7" / "training").mkdir(parents=True)
            (tmp_path / f"{method}-{form}-7" / "training" / "done").touch()
    again = rows_script(tmp_path, SCENES="5", SEEDS="7", PIZA="false")  # any call of piza would fail
    assert again.returncode == 0 and "all rows are trained" in again.stdout
    more = rows_script(tmp_path, SCENES="5", SEEDS="7 8", PIZA="false")
    assert more.returncode != 0 and "== lora, piza, seed 8" in more.stdout
    other = rows_script(tmp_path, SCENES="6", SEEDS="7", PIZA="false")
    assert other.returncode == 2 and "was begun with" in other.stderr
