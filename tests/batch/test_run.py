"""A manifest answered in parts: the same rows for any number of workers, and after every fault."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
import torch
from tests.batch import stand_in
from tests.batch.stand_in import make_photos, make_rows, run
from tests.batch.test_manifest import write

from piza.batch.crew import ThisProcess
from piza.batch.jobs import ModelSource
from piza.errors import InputError
from piza.hub import hash_files

parquet = pytest.importorskip("pyarrow.parquet")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """12 photos, two of which are no images, and 24 rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(stand_in.ONCE, str(tmp_path))
    make_photos(tmp_path / "photos", 12, corrupt=(3, 8))
    write(tmp_path / "m.jsonl", make_rows(12))
    return tmp_path


def read(out="out"):
    """All rows in order, each exactly once."""
    rows = parquet.read_table(out).sort_by("row").to_pylist()
    assert [row["row"] for row in rows] == list(range(len(rows)))
    return rows


def files(out="out"):
    return {path.name: path.read_bytes() for path in Path(out).glob("part-*")}


def names(out="out"):
    return sorted(os.listdir(out))


def test_rows_and_the_record_of_the_run(place):
    seen = []
    count = run(progress=lambda c: seen.append((c.done, c.failed)), min_score=0.2)
    assert (count.rows, count.done, count.before, count.failed) == (24, 24, 0, 4)
    assert count.parts == count.num_parts == 5 and "3.png" in count.failure
    assert seen[0] == (0, 0) and seen[-1] == (24, 4) and len(seen) == 13
    rows = read()
    assert [(r["image"], r["sentence"], r["id"]) for r in rows] == [
        (r["image"], r["sentence"], r["id"]) for r in make_rows(12)
    ]
    for row in rows:
        failed = row["image"] in ("3.png", "8.png")
        assert (row["error"] is not None) == failed == (row["score"] is None) == (row["box_xyxy"] is None)
    said = json.loads(Path("out/_run.json").read_text())
    assert said["search"] == {"min_score": 0.2} and said["rows"] == 24 and said["machine"]["packages"]
    assert said["model"] == "tests.batch.stand_in.load" and said["images"] == str(place / "photos")


def test_sentences_about_an_image_are_asked_together(place, monkeypatch):
    asked = []
    answer = stand_in.StandIn.locate
    monkeypatch.setattr(
        stand_in.StandIn, "locate", lambda self, image, said: asked.append(said) or answer(self, image, said)
    )
    run()
    assert asked == [["the object 0", "the object 1"]] * 10


def test_a_model_that_always_fails_ends_the_run(place, monkeypatch):
    make_photos(place / "photos", 12)
    monkeypatch.setattr(stand_in.StandIn, "locate", lambda *_: {}["weights"])
    with pytest.raises(InputError, match=r"5 images in a row ended the workers.*KeyError: 'weights'"):
        run()
    assert names() == ["_run.json", "part-000000.parquet"]


def test_any_number_of_workers_and_shards_writes_the_same_bytes(place):
    run()
    run("two", workers=2)
    for shard in ("2/3", "3/3", "1/3"):
        count = run("shards", shard=shard)
        assert count.done == count.rows < 24
    assert files() == files("two") == files("shards")
    assert names() == names("two") == names("shards")


def test_a_rerun_does_what_is_missing(place, monkeypatch):
    run()
    whole = files()
    asked = []
    answer = stand_in.StandIn.locate
    monkeypatch.setattr(
        stand_in.StandIn, "locate", lambda self, image, *a: asked.append(a) or answer(self, image, *a)
    )
    assert run().before == 24 and not asked
    Path("out/part-000001.parquet").unlink()
    Path("out/part-000003.parquet").write_bytes(whole["part-000003.parquet"][:-9])  # as by a damaged disk
    count = run()
    assert files() == whole and count.before + 2 * len(asked) + count.failed >= 24 > count.before
    assert count.failed == 4


def test_failed_images_can_be_done_again(place):
    run()
    before = read()
    make_photos(place / "whole", 12)
    (place / "whole" / "3.png").replace(place / "photos" / "3.png")
    assert run().failed == 4 and read() == before
    count = run(retry=True)
    assert count.failed == 2 and count.before == 20
    rows = read()
    assert [r for r in rows if r["image"] != "3.png"] == [r for r in before if r["image"] != "3.png"]
    assert all(r["error"] is None for r in rows if r["image"] == "3.png")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 3}, "'search' is {}, here it is .*budget"),
        ({"part_rows": 6}, "'part_rows' is 5, here it is 6"),
        ({"images": "others"}, "'images' is "),
        ({"model": stand_in.load_and_die}, "'model' is "),
    ],
)
def test_a_folder_of_another_run(place, options, says):
    make_photos(place / "others", 1)
    run()
    before = files()
    with pytest.raises(InputError, match=f"holds a run with other settings: its {says}"):
        run(**options)
    write(place / "m.jsonl", make_rows(11))
    with pytest.raises(InputError, match="'manifest' is"):
        run()
    assert files() == before


def test_a_folder_of_something_else(place):
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        run("photos")
    run()
    run("other", max_looks=2)
    Path("other/part-000001.parquet").replace("out/part-000001.parquet")
    with pytest.raises(InputError, match="a part of another run"):
        run()
    Path("out/_run.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"images": "gone"}, "'.*gone' does not exist"),
        ({"images": "empty"}, "'.*empty' is empty"),
        ({"images": "wrong"}, "none of the first 12 images can be read.*'0.png'"),
        ({"images": "nosuch://bucket/photos"}, "cannot be reached"),
        ({"images": "memory://nowhere"}, "does not exist or is empty"),
        ({"images": "memory://nowhere", "workers": 1}, "expected workers=0"),
        ({"out": "gone/out"}, "the folder 'gone' does not exist|the folder '.*gone' does not exist"),
        ({"out": "m.jsonl"}, "cannot write to '.*m.jsonl'"),
        ({"workers": -1}, "workers: expected"),
        ({"shard": "0/3"}, "shard: expected"),
        ({"shard": "4/3"}, "shard: expected"),
        ({"shard": f"1/{'9' * 5000}"}, "shard: expected"),
        ({"shard": "three"}, "shard: expected"),
        ({"part_rows": 0}, "part_rows: expected"),
        ({"zoom": 3}, "'zoom' is no setting"),
        ({"budget": "many"}, "budget"),
        ({"model": "maxi"}, "there is no model 'maxi'"),
    ],
)
def test_what_cannot_be_run(place, options, says):
    (place / "empty").mkdir()
    (place / "wrong").mkdir()
    (place / "wrong" / "other.png").touch()
    with pytest.raises(InputError, match=says):
        run(**options)
    assert (
        "m.jsonl" in str(options) or run().done == 24
    )  # a wrong command leaves nothing in the way of the right one


def test_a_sentence_that_cannot_be_asked_is_an_error_of_its_own(place):
    rows = make_rows(12)
    rows[13]["sentence"] = "..."  # of 1.png
    write(place / "m.jsonl", rows)
    run()
    found = read()
    assert "has no words" in found[13]["error"] and found[13]["sentence"] == "..."
    assert found[1]["error"] is None and found[1]["image"] == "1.png" and found[1]["score"] is not None


# Faults. After each, a rerun ends with exactly the rows of an undisturbed run.


@pytest.fixture
def undisturbed(place):
    run("undisturbed")
    return files("undisturbed")


def test_workers_that_are_killed(place):
    """By one image always, by another once, and by memory that runs out."""
    widths = {"p1": stand_in.KILLS, "p2": stand_in.NO_MEMORY, "p5": stand_in.KILLS_ONCE}
    make_photos(place / "photos", 12, corrupt=(3,), **widths)
    count = run(workers=2)
    rows = read()
    errors = {row["image"]: row["error"] for row in rows if row["error"]}
    assert set(errors) == {"1.png", "2.png", "3.png"} and count.failed == 6
    assert "two workers ended" in errors["1.png"] and "SIGKILL" in errors["1.png"]
    assert "out of memory" in errors["2.png"]
    assert (place / "was-here").exists() and run(workers=2).before == 24


def test_a_worker_that_finds_another_model_ends_the_run(place):
    """One that is started in the middle, in the place of one that died, or on another machine."""
    model = place / "model"
    model.mkdir()
    (model / "piza.json").write_text("{}")
    digest = hash_files(model)
    count = run(model=ModelSource(stand_in.load, str(model), "cpu", digest))
    assert count.done == 24
    (model / "piza.json").write_text('{"seed": 1}')
    for workers in (0, 1):
        with pytest.raises(InputError, match="has other files here than where this run began"):
            run(f"new{workers}", model=ModelSource(stand_in.load, str(model), "cpu", digest), workers=workers)
        assert names(f"new{workers}") == ["_run.json"]


def test_a_program_whose_work_is_not_guarded(place):
    (place / "program.py").write_text("from tests.batch.stand_in import run\nrun(workers=2)\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "program.py"], env=environment, capture_output=True, text=True)
    assert "put its own work under if __name__ == '__main__'" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1


def test_workers_that_cannot_begin(place):
    with pytest.raises(InputError, match="end before they begin: it ended with code 3"):
        run(model=stand_in.load_and_die, workers=1)


def test_the_driver_is_killed(place, undisturbed):
    make_photos(place / "photos", 12, corrupt=(3, 8))
    code = (
        "from tests.batch import stand_in; import time\n"
        "stand_in.time.sleep = lambda seconds, sleep=time.sleep: sleep(0.1)\n"
        "stand_in.run()"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    for parts in (1, 3):
        with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=place) as driver:
            until(lambda parts=parts: len(files()) >= parts)
            driver.send_signal(signal.SIGKILL)
        assert len(files()) < 5
    assert run().before > 0 and files() == undisturbed and names() == names("undisturbed")


def test_workers_end_when_their_driver_is_killed(place):
    code = (
        "from tests.batch.stand_in import run\n"
        "import multiprocessing, pathlib\n"
        "def tell(count): pathlib.Path('pids').write_text(' '.join(str(p.pid) for p in multiprocessing.active_children()))\n"
        "run(workers=2, progress=tell)"
    )
    make_photos(place / "photos", 12, **{f"p{number}": stand_in.SLOW for number in range(2, 12)})
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=place) as driver:
        until(lambda: Path("pids").exists() and Path("pids").read_text())
        driver.send_signal(signal.SIGKILL)
    for pid in Path("pids").read_text().split():
        until(lambda pid=int(pid): not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def is_zombie(pid):
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_full_disk(place, undisturbed, monkeypatch):
    written = Path.write_bytes

    def write_bytes(path, content):
        if "000002" in path.name:
            written(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(path, content)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(InputError, match=r"cannot write '.*part-000002.parquet': No space left"):
            run()
    assert names() == ["_run.json", "part-000000.parquet", "part-000001.parquet"]
    assert run().before > 0 and files() == undisturbed


def test_the_folder_of_images_goes_away(place, undisturbed):
    def vanish(count):
        if count.done == 12:
            Path("photos").rename("elsewhere")

    with pytest.raises(InputError, match=r"'.*photos' does not exist"):
        run(progress=vanish)
    assert 0 < len(files()) < 5
    Path("elsewhere").rename("photos")
    assert run(workers=1).before > 0 and files() == undisturbed


@pytest.fixture
def memory(place, monkeypatch):
    monkeypatch.setattr("piza.batch.storage.PAUSES", (0.0,))
    system = fsspec.filesystem("memory")
    system.put(str(place / "photos"), "/batch/photos", recursive=True)
    yield system
    system.rm("/batch", recursive=True)


def test_a_bucket_goes_away(place, memory):
    def vanish(count):
        if count.done == 12:
            memory.mv("/batch/photos", "/batch/elsewhere", recursive=True)

    run("memory://batch/whole", images="memory://batch/photos")
    with pytest.raises(InputError, match="does not exist or is empty"):
        run("memory://batch/out", images="memory://batch/photos", progress=vanish)
    memory.mv("/batch/elsewhere", "/batch/photos", recursive=True)
    assert run("memory://batch/out", images="memory://batch/photos").before > 0
    kept, whole = (
        {
            name: memory.cat_file(name)
            for name in memory.ls(f"/batch/{folder}", detail=False)
            if "part-" in name
        }
        for folder in ("out", "whole")
    )
    assert len(kept) == 5 and list(kept.values()) == list(whole.values())


def test_an_upload_that_fails_is_tried_again(place, memory, monkeypatch):
    put, failures = type(memory).pipe_file, [ConnectionError("reset")] * 2

    def pipe_file(self, path, value, **options):
        if path.endswith("000001.parquet") and failures:
            raise failures.pop()
        return put(self, path, value, **options)

    monkeypatch.setattr(type(memory), "pipe_file", pipe_file)
    with pytest.raises(InputError, match=r"cannot write 'memory://batch/out/part-000001.parquet': reset"):
        run("memory://batch/out", images="memory://batch/photos")
    failures.append(ConnectionError("reset"))
    assert run("memory://batch/out", images="memory://batch/photos").done == 24


def test_parts_do_not_depend_on_how_images_come_in(place):
    """A slow image: the others of its part wait for it, later parts do not."""
    make_photos(place / "photos", 12, corrupt=(3, 8), p0=stand_in.SLOW)
    seen = []
    run("slow", workers=2, progress=lambda _: seen.append(sorted(files("slow"))))
    assert any("part-000000.parquet" not in names for names in seen if names)
    run()
    assert files() == files("slow")


def test_this_process_is_a_crew_that_lives_on(place):
    class Job:
        def start(self):
            return lambda task: 1 / task

    crew = ThisProcess(Job())
    crew.start(0)
    assert crew.wait()[0].kind == "ready"
    crew.give(0, 0)
    assert crew.wait()[0].value == "ZeroDivisionError: division by zero"


def test_this_process_computes_in_one_thread_as_workers_do():
    class Job:
        def start(self):
            return lambda task: torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        crew = ThisProcess(Job())
        crew.start(0)
        crew.give(0, None)
        crew.wait()
        crew.give(0, None)
        assert crew.wait()[0].value == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
