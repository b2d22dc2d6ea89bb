"""A thousand sentences through Label Studio and back: what is lost or changed on the way, and how long it takes.

    PIZA_LABEL_STUDIO=/path/to/label-studio python benchmarks/label_studio.py --tasks 1000

One person decides about every sentence, as the program's page would send it: most are accepted, a tenth is fixed, a tenth
rejected. The rows that come back are compared with those of the same decisions without Label Studio.
"""

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.dataset.label_studio_server import Person, serving

from piza.dataset.decisions import Rules, rows
from piza.dataset.label_studio import pull, push, task_of
from piza.dataset.label_studio_api import LabelStudio
from piza.dataset.records import Checked, CheckedSentence, Decision, Finding, proposal_id

SIZE = (1024, 768)
AT_ONCE = 8  # annotations that are sent at a time
WORDS = [
    "the",
    "red",
    "“small”",
    "car",
    "<b>",
    "left",
    "of",
    "Zürich's",
    "bus",
    "&",
    "赤い",
    "sign",
    "\\n",
    "50 %",
    "🚲",
]


def records_of(count, folder, rng):
    """Proposals with two sentences each, ten a photo."""
    found = []
    for number in range(count // 2):
        image = f"a photo {number // 10} ü.jpg"
        if number % 10 == 0:
            pixels = np.random.default_rng(number).integers(
                0, 255, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).resize(SIZE).save(folder / image)
        x, y, width, height = rng.uniform(0, 900), rng.uniform(0, 700), rng.uniform(4, 60), rng.uniform(4, 60)
        bbox = (round(x, 2), y, round(width, 2), height)
        sentences = tuple(
            CheckedSentence(
                f"{' '.join(rng.choices(WORDS, k=rng.randint(5, 30)))} {number}-{place}.", "a model",
                findings=(Finding("ambiguous", 0.7, "may lead to another thing"),) if number % 3 == 0 else (),
            )
            for place in range(2)
        )  # fmt: skip
        found.append(
            Checked(
                id=proposal_id(image, bbox), image=image, width=SIZE[0], height=SIZE[1], bbox=bbox, category="car",
                score=0.5, source="mini", attributes=(), kept_because="it is small", sentences=sentences,
                doubt=rng.random(),
            )
        )  # fmt: skip
    return found


def decide(record, place, rng):
    """What a person makes of a sentence; a box as a person draws it is no longer the old one to the last bit."""
    choice = rng.choices(["accept", "fix", "reject"], [8, 1, 1])[0]
    text, bbox = record.sentences[place].text, record.bbox
    if choice == "fix":
        text = f"{text} (fixed)"
        x, y, width, height = bbox
        bbox = (x + 1.5, y, width + 2, height) if rng.random() < 0.5 else bbox
    return Decision(record.id, place, choice, text, bbox, "ann", "")


def result_of(record, place, decision):
    """The annotation that Label Studio's page sends for it."""
    result = task_of(record, place, "")["predictions"][0]["result"]
    for part in result:
        if part["from_name"] == "sentence":
            part["value"]["text"] = [decision.text]
        if part["from_name"] == "box":
            sides = (SIZE[0], SIZE[1], SIZE[0], SIZE[1])
            names = ("x", "y", "width", "height")
            part["value"].update(
                {n: 100 * v / s for n, v, s in zip(names, decision.bbox, sides, strict=True)}
            )
    choices = {"choices": [decision.decision]}
    return [*result, {"from_name": "decision", "to_name": "photo", "type": "choices", "value": choices}]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    count = parser.parse_args().tasks
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="piza-") as place:
        folder = Path(place)
        records = records_of(count, folder, rng)
        by_id = {record.id: record for record in records}
        keys = [(record.id, number) for record in records for number in range(2)]
        with serving(folder / "label-studio") as address:
            person = Person(address, "ann")
            server = LabelStudio(address, person.token)
            started = time.perf_counter()
            project, added = push(server, records, keys, folder, "a thousand", reviews=1)
            print(f"pushed {added} tasks in {time.perf_counter() - started:.0f} s", flush=True)
            tasks = server.tasks(project)
            started = time.perf_counter()
            wanted = {}
            for task in tasks:
                key = task["data"]["id"], task["data"]["sentence"]
                wanted[key] = decide(by_id[key[0]], key[1], rng)

            def send(task):
                key = task["data"]["id"], task["data"]["sentence"]
                result = result_of(by_id[key[0]], key[1], wanted[key])
                person.ask(f"/api/tasks/{task['id']}/annotations/", {"result": result})

            with ThreadPoolExecutor(AT_ONCE) as people:
                for number, _ in enumerate(people.map(send, tasks), start=1):
                    if number % 100 == 0:
                        print(f"decided {number} in {time.perf_counter() - started:.0f} s", flush=True)
            started = time.perf_counter()
            pulled = pull(server, project, records)
            print(
                f"pulled {len(pulled.decisions)} decisions in {time.perf_counter() - started:.1f} s",
                flush=True,
            )
    found = {(one.id, one.sentence): one for one in pulled.decisions}
    lost = [key for key in keys if key not in found]
    changed = [
        key for key in found
        if ((found[key].decision, found[key].text) != (wanted[key].decision, wanted[key].text)
        and wanted[key].decision != "reject")
        or np.abs(np.array(found[key].bbox) - wanted[key].bbox).max() > 1e-9
    ]  # fmt: skip
    exact = sum(found[key].bbox == wanted[key].bbox for key in found)
    rules = Rules(reviewers=1)
    same = rows(records, pulled.decisions, rules) == rows(records, wanted.values(), rules)
    print(
        f"{len(lost)} lost, {len(changed)} changed, {len(pulled.problems)} problems, {exact} boxes to the last bit"
    )
    print(
        f"the rows are {'the same' if same else 'NOT the same'}: {len(rows(records, pulled.decisions, rules))}"
    )


if __name__ == "__main__":
    main()
