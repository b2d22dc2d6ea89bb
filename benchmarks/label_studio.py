"""A decided round of a thousand sentences through Label Studio: what is lost or changed on the way, and how long it takes.

    PIZA_LABEL_STUDIO=/path/to/label-studio python benchmarks/label_studio.py --tasks 1000

Two people decide about every sentence, as the program's page would send it, each one request after the other; what they
dispute goes to a third in a project of its own. `piza data verify push`, `pull` and `rows` are called as a user types them.
Every decision that comes back is compared with what was sent, the agreement with one that is counted here, and the rows with
those of the same decisions without Label Studio.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.dataset.label_studio_server import Person, serving

from piza.cli.main import main as cli
from piza.dataset.decisions import Rules, agree, rows
from piza.dataset.label_studio import task_of
from piza.dataset.label_studio_api import LabelStudio
from piza.dataset.records import (
    Checked,
    CheckedSentence,
    Decision,
    Finding,
    proposal_id,
    read_records,
    write_records,
)

SIZE = (1024, 768)
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


def truth_of(key):
    """What is right about a sentence: most are good, some need other words or another box, some are wrong."""
    return random.Random(f"truth {key}").choices(["accept", "words", "box", "reject"], [70, 8, 8, 14])[0]


def decide(record, place, who):
    """What a person makes of a sentence: mostly what is right, one time in eight something else. Seeded by name and sentence.

    A box as a person draws it is no longer the old one to the last bit, and no two people draw the same."""
    rng = random.Random(f"{who} {record.id} {place}")
    choice = truth_of((record.id, place))
    if rng.random() < 0.125:
        choice = rng.choice(["accept", "words", "box", "reject"])
    text, bbox = record.sentences[place].text, record.bbox
    if choice == "words":
        text = f"{text} (fixed)"
    if choice == "box":
        x, y, width, height = bbox
        bbox = (x + rng.uniform(0.6, 2), y, width + rng.uniform(1, 4), height)
    kind = "fix" if choice in ("words", "box") else choice
    return Decision(record.id, place, kind, text, bbox, who, "")


def side_with(pair, key):
    """What the third person makes of what two dispute: as one of them, now and then with a mind of their own."""
    rng = random.Random(f"third {key}")
    one = rng.choice(pair)
    if rng.random() < 0.02:
        return replace(one, decision="fix", text=f"{one.text} (third)")
    return one


def result_of(record, place, decision):
    """The annotation that Label Studio's page sends for a decision."""
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


def review(person, tasks, by_id, wanted):
    """One person decides about all tasks; returns the seconds it took, and how often the server had to be asked again."""
    started, again = time.perf_counter(), 0
    for number, task in enumerate(tasks, start=1):
        key = task["data"]["id"], task["data"]["sentence"]
        result = result_of(by_id[key[0]], key[1], wanted[key])
        try:
            person.ask(f"/api/tasks/{task['id']}/annotations/", {"result": result})
        except (
            AssertionError
        ):  # SQLite was locked; as a person would, look whether it was kept, and send it again if not
            again += 1
            time.sleep(1)
            kept = person.ask(f"/api/tasks/{task['id']}/annotations/")
            if not any(one["created_username"].startswith(person.email) for one in kept):
                person.ask(f"/api/tasks/{task['id']}/annotations/", {"result": result})
        if number % 200 == 0:
            print(f"{person.email} decided {number} in {time.perf_counter() - started:.0f} s", flush=True)
    return time.perf_counter() - started, again


def round_of(folder, address, people, sources, records, project):
    """A project is pushed, decided by some people at a time, and pulled. sources: a function (key) -> Decision each."""
    by_id = {record.id: record for record in records}
    checked, log = str(folder / "checked.jsonl"), str(folder / "log.jsonl")
    os.environ["LABEL_STUDIO_API_KEY"] = people[0].token
    started = time.perf_counter()
    command("push", checked, "--images", str(folder), "--decisions", log, "--url", address)
    print(f"pushed in {time.perf_counter() - started:.0f} s", flush=True)
    tasks = LabelStudio(address, people[0].token).tasks(project)
    keys = [(task["data"]["id"], task["data"]["sentence"]) for task in tasks]
    wanted = [{key: source(key) for key in keys} for source in sources]
    with ThreadPoolExecutor(len(people)) as pool:
        for seconds, again in pool.map(
            lambda pair: review(pair[0], tasks, by_id, pair[1]), zip(people, wanted, strict=True)
        ):
            print(f"{len(tasks)} decided in {seconds:.0f} s, {again} sent again", flush=True)
    started = time.perf_counter()
    command("pull", checked, "--decisions", log, "--url", address, "--project", str(project))
    print(f"pulled in {time.perf_counter() - started:.0f} s", flush=True)
    return [
        replace(one, who=person.email)
        for person, own in zip(people, wanted, strict=True)
        for one in own.values()
    ]


def command(*words):
    """`piza data verify ...`; whatever it says is shown."""
    code = cli(["data", "verify", *words])
    print(f"piza data verify {words[0]}: exit code {code}", flush=True)


def counted(first, second):
    """(same choice, kappa, mean IoU) of two people's decisions, by the book: a table of choices, and areas."""
    choices = ("accept", "fix", "reject")
    table = np.zeros((3, 3))
    ious = []
    for key, a in first.items():
        b = second[key]
        table[choices.index(a.decision), choices.index(b.decision)] += 1
        if "reject" not in (a.decision, b.decision):
            (ax, ay, aw, ah), (bx, by, bw, bh) = a.bbox, b.bbox
            inner = max(0, min(ax + aw, bx + bw) - max(ax, bx)) * max(0, min(ay + ah, by + bh) - max(ay, by))
            ious.append(inner / (aw * ah + bw * bh - inner))
    table /= table.sum()
    chance = (table.sum(0) * table.sum(1)).sum()
    return np.trace(table), (np.trace(table) - chance) / (1 - chance), np.mean(ious)


def compare(found, wanted):
    """Print what became of decisions, by who and sentence."""
    got = {(one.id, one.sentence, one.who): one for one in found}
    lost = [one for one in wanted if (one.id, one.sentence, one.who) not in got]
    pairs = [(one, got[one.id, one.sentence, one.who]) for one in wanted if one not in lost]
    changed = exact = 0
    for sent, back in pairs:
        if sent.decision == back.decision == "reject":
            exact += 1
            continue
        off = np.abs(np.array(sent.bbox) - back.bbox).max()
        changed += (sent.decision, sent.text) != (back.decision, back.text) or off > 1e-9
        exact += sent.bbox == back.bbox
    print(
        f"{len(wanted)} sent, {len(found)} came back: {len(lost)} lost, {changed} changed, {exact} boxes to the last bit"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    count = parser.parse_args().tasks
    with tempfile.TemporaryDirectory(prefix="piza-") as place:
        folder = Path(place)
        records = records_of(count, folder, random.Random(0))
        write_records(folder / "checked.jsonl", records)
        by_id = {record.id: record for record in records}
        with serving(folder / "label-studio") as address:
            ann, bob, cleo = (Person(address, name) for name in ("ann", "bob", "cleo"))
            sources = [lambda key, who=who: decide(by_id[key[0]], key[1], who) for who in ("ann", "bob")]
            wanted = round_of(folder, address, [ann, bob], sources, records, 1)
            first, second = (
                {(one.id, one.sentence): one for one in wanted if one.who == person.email}
                for person in (ann, bob)
            )
            third = round_of(
                folder, address, [cleo], [lambda key: side_with((first[key], second[key]), key)], records, 2
            )
        log, out = str(folder / "log.jsonl"), str(folder / "rows.json")
        command(
            "rows",
            str(folder / "checked.jsonl"),
            "--decisions",
            log,
            "--out",
            out,
            "--agreement",
            str(folder / "a.json"),
        )
        found = read_records(log, Decision)
        compare(found, [*wanted, *third])
        same, kappa, iou = counted(first, second)
        told = next(
            one
            for one in json.loads((folder / "a.json").read_text())["agreement"]
            if cleo.email not in one["who"]
        )
        off = max(abs(told["same"] - same), abs(told["kappa"] - kappa), abs(told["iou"] - iou))
        print(
            f"counted here: same choice {same:.4f}, kappa {kappa:.4f}, IoU {iou:.4f}; told differs by {off:.1e} at most"
        )
        disputed = {key for key in first if not agree(first[key], second[key], Rules())}
        print(f"{len(disputed)} disputed by two, {len(third)} of them decided by the third")
        sent = {(one.id, one.sentence, one.who): one for one in (*wanted, *third)}
        # In the order in which they came in, as the last fix of those who agree is the one that is taken.
        expected = rows(records, [sent[one.id, one.sentence, one.who] for one in found], Rules())
        got = json.loads(Path(out).read_text())
        print(f"the rows are {'the same' if got == expected else 'NOT the same'}: {len(got)}")


if __name__ == "__main__":
    main()
