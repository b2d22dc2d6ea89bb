"""The queue, the store of images and what is made of them."""

import asyncio
import io
import json
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")

from PIL import Image
from tests.server.fake_model import answer

from piza.server.errors import BusyError
from piza.server.metrics import Metrics
from piza.server.queue import WorkQueue
from piza.server.store import ImageStore, StoredImage, crop_jpeg, preview
from piza.server.tables import TABLES


def test_work_is_done_in_order_and_a_waiter_that_leaves_is_dropped_at_once():
    async def go():
        queue, gate, order = WorkQueue(2), threading.Event(), []
        first = asyncio.ensure_future(queue.run(lambda _: gate.wait(30) and order.append(1)))
        while not queue.running:
            await asyncio.sleep(0.01)
        second, third = (asyncio.ensure_future(queue.run(lambda _, n=n: order.append(n))) for n in (2, 3))
        await asyncio.sleep(0)
        assert queue.waiting == 2
        with pytest.raises(BusyError, match="2 wait"):
            await queue.run(lambda _: None)
        second.cancel()
        await asyncio.sleep(0)
        assert queue.waiting == 1
        fourth = asyncio.ensure_future(queue.run(lambda _: order.append(4)))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, third, fourth)
        assert order == [1, 3, 4] and not queue.running and not queue.waiting

    asyncio.run(go())


def test_work_in_progress_is_told_and_faults_reach_the_caller():
    async def go():
        queue, told = WorkQueue(0), threading.Event()

        def work(is_cancelled):
            while not is_cancelled():
                time.sleep(0.005)
            told.set()

        task = asyncio.ensure_future(queue.run(work))
        while not queue.running:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told.wait(10)
        while queue.running:
            await asyncio.sleep(0.01)
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda _: 1 / 0)
        assert await queue.run(lambda _: 7) == 7
        queue.cancel_all()
        with pytest.raises(BusyError, match="shutting down"):
            await queue.run(lambda _: 7)

    asyncio.run(go())


def test_the_store_drops_the_oldest_image_but_no_example():
    image = np.zeros((200, 200, 3), np.uint8)
    one = StoredImage("x", image, b"").nbytes
    store = ImageStore(max_bytes=3 * one)
    example, first, second = (
        store.put(StoredImage(name, image, b"", example=name == "street"))
        for name in ("street", "first", "second")
    )
    assert store.get(first) is not None  # asked for, so the second is now the older one
    third = store.put(StoredImage("third", image, b""))
    kept = [store.get(token) is not None for token in (example, first, second, third)]
    assert kept == [True, True, False, True]
    assert store.nbytes <= store.max_bytes


def test_results_count_in_the_store_and_tiny_images_cannot_pile_up():
    image = np.zeros((8, 8, 3), np.uint8)
    store = ImageStore(max_bytes=1_000_000)
    for _ in range(100):
        stored = StoredImage("x", image, b"")
        token = store.put(stored)
        for _ in range(20):
            store.add(token, stored, [answer(image, "a")] * 5)
    assert store.nbytes <= 1_000_000 and len(store._images) < 10
    assert len(stored.searches) == 12


def test_previews_are_small_and_keep_the_shape():
    with Image.open(io.BytesIO(preview(np.zeros((3000, 4000, 3), np.uint8)))) as small:
        assert small.size == (1600, 1200)
    with Image.open(io.BytesIO(preview(np.zeros((3, 5000, 3), np.uint8)))) as thin:
        assert thin.size == (1600, 1)
    image = np.arange(300, dtype=np.uint8).repeat(300).reshape(300, 300, 1).repeat(3, 2)
    with Image.open(io.BytesIO(crop_jpeg(image, (0, 100, 50, 120), 1600))) as part:
        assert part.size == (50, 20) and part.getpixel((0, 0))[0] == pytest.approx(100, abs=3)


def test_tables_of_all_answers():
    image = np.zeros((80, 120, 3), np.uint8)
    results = [answer(image, sentence) for sentence in ("a", '=1,"b"', "c")]
    results[2].found = False
    files = {name: write("photo.jpg", results) for name, (_, write) in TABLES.items()}
    assert json.loads(files["answers.json"]) == [result.to_dict() for result in results]
    rows = files["answers.csv"].splitlines()
    assert rows[0].startswith("sentence,found,score,x1") and rows[2].startswith(
        '"\'=1,""b""",True,0.83,56.0,35.0'
    )
    coco = json.loads(files["answers.coco.json"])
    assert coco["images"] == [{"id": 1, "file_name": "photo.jpg", "width": 120, "height": 80}]
    assert [entry["bbox"] for entry in coco["annotations"]] == [[56.0, 35.0, 10.0, 10.0]] * 2


def test_metrics_are_written_as_prometheus_reads_them():
    metrics = Metrics()
    metrics.count("a_total", "A.", 1_234_567, model='x"\\\n')
    metrics.time("b_seconds", "B.", 0.2)
    metrics.time("b_seconds", "B.", 1000.0)
    lines = metrics.text().splitlines()
    assert r'a_total{model="x\"\\\n"} 1234567' in lines
    assert 'b_seconds_bucket{le="0.1"} 0' in lines and 'b_seconds_bucket{le="0.25"} 1' in lines
    assert 'b_seconds_bucket{le="+Inf"} 2' in lines and "b_seconds_count 2" in lines
    assert "b_seconds_sum 1000.2" in lines and "# TYPE b_seconds histogram" in lines
