"""Actors of a Ray cluster of this machine, and a bucket: the same rows as by processes. Skipped where the packages are not
installed."""

import json
import os
from pathlib import Path

import fsspec
import pytest
from tests.batch import stand_in
from tests.batch.stand_in import make_photos, make_rows, run
from tests.batch.test_manifest import write
from tests.batch.test_run import files

from piza.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(stand_in.ONCE, str(tmp_path))
    widths = {"p1": stand_in.KILLS, "p5": stand_in.KILLS_ONCE}
    make_photos(tmp_path / "photos", 12, corrupt=(3, 8), **widths)
    write(tmp_path / "m.jsonl", make_rows(12))
    return tmp_path


def test_actors_answer_the_same(place, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is an extra of its own")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    )
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        count = run("ray", workers=2, ray="auto")
    finally:
        ray.shutdown()
    assert count.done == 24 and count.failed == 6 and (place / "was-here").exists()
    (place / "was-here").unlink()
    run("processes", workers=2)
    kept, others = files("ray"), files("processes")
    # The sentence about a dead worker is the crew's own; all else is equal to the last byte.
    assert {n for n in kept if kept[n] != others[n]} == {"part-000000.parquet"}
    import pyarrow.parquet

    rows = [pyarrow.parquet.read_table(out).to_pylist() for out in ("ray", "processes")]
    for one, other in zip(*rows, strict=True):
        assert one == other or (one["image"] == "1.png" and "two workers ended" in one["error"])


def test_no_cluster(place):
    pytest.importorskip("ray", reason="ray is an extra of its own")
    with pytest.raises(InputError, match=r"the Ray cluster 'auto' cannot be reached"):
        run("ray", workers=2, ray="auto")


@pytest.fixture
def bucket(place, monkeypatch):
    """A bucket with the photos, and its server."""
    pytest.importorskip("s3fs", reason="fsspec reads S3 by s3fs")
    moto = pytest.importorskip("moto.server", reason="moto is the S3 of this test")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("ENDPOINT_URL", address)):
        monkeypatch.setenv(f"AWS_{name}", value)
    fsspec.filesystem("s3").clear_instance_cache()
    system = fsspec.filesystem("s3")
    system.mkdir("bucket")
    make_photos(place / "photos", 12, corrupt=(3, 8))
    system.put(str(place / "photos"), "bucket/photos", recursive=True)
    yield system
    server.stop()


def test_a_bucket_that_goes_away(place, bucket):
    def vanish(count):
        if count.done == 12:
            bucket.rm("bucket/photos", recursive=True)

    with pytest.raises(InputError, match="'s3://bucket/photos' cannot be reached"):
        run("s3://bucket/out", images="s3://bucket/photos", workers=2, progress=vanish)
    bucket.put(str(place / "photos"), "bucket/photos", recursive=True)
    assert run("s3://bucket/out", images="s3://bucket/photos", workers=2).before > 0
    run("whole", images="s3://bucket/photos", workers=0)
    bucket.get("bucket/out", "out", recursive=True)
    assert files("out") == files("whole") and len(files("out")) == 5
    assert json.loads(Path("out/_run.json").read_text())["images"] == "s3://bucket/photos"
    with pytest.raises(InputError, match="'s3://nosuch/photos' cannot be reached"):
        run("s3://bucket/other", images="s3://nosuch/photos")
