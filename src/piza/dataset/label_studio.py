"""Reviewing in Label Studio: sentences become tasks of a project, and its annotations become decisions.

A task has the photo, the box and the sentence, both changeable, and the choices accept, fix and reject. What a task is
about is kept in its data, so that a project that was changed by hand is noticed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from piza.boxes import iou_xyxy, xywh_to_xyxy
from piza.data.sorec import find_image
from piza.dataset.decisions import CHOICES, Key, check_kept
from piza.dataset.label_studio_api import LabelStudio, batches
from piza.dataset.language_rules import joined
from piza.dataset.records import Box, Checked, Decision
from piza.errors import InputError

TASKS_AT_ONCE = 250
MOVED = 0.5  # pixels: an edge that moved less was not moved by a person
LABEL = "thing"
INSTRUCTION = (
    "Does the sentence lead to the thing in the box, and to nothing else in the photo? Accept it, or fix its words or the "
    "box and choose fix, or reject it."
)

# Files can only be uploaded to a project that asks for one value of a task, so words come as a prediction.
CONFIG = f"""<View>
  <TextArea name="sentence" toName="photo" editable="true" maxSubmissions="1" rows="3"/>
  <TextArea name="doubts" toName="photo" editable="false" maxSubmissions="1" rows="1"/>
  <Choices name="decision" toName="photo" choice="single" required="true" showInline="true">
    <Choice value="accept" hotkey="a"/>
    <Choice value="fix" hotkey="f"/>
    <Choice value="reject" hotkey="r"/>
  </Choices>
  <Image name="photo" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="box" toName="photo">
    <Label value="{LABEL}" background="#d55e00"/>
  </RectangleLabels>
</View>
"""


@dataclass
class Pulled:
    """What a project holds.

    decisions: of people, in order of time. unfinished: tasks that nobody has decided yet. problems: what cannot be used,
    a sentence each.
    """

    decisions: list[Decision] = field(default_factory=list)
    unfinished: int = 0
    problems: list[str] = field(default_factory=list)


def push(
    server: LabelStudio,
    records: Sequence[Checked],
    keys: Iterable[Key],
    images_dir: str | Path,
    title: str,
    reviews: int = 2,
    project: int | None = None,
    image_url: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[int, int]:
    """Put sentences into a project as tasks; returns its number and how many tasks were added.

    Args:
        server: where to.
        records: the proposals with their sentences.
        keys: which sentences, in the order in which they are to be reviewed.
        images_dir: the folder of the photos, which are uploaded once each.
        title: of the project.
        reviews: how many people are to look at each.
        project: go on with this one: tasks that it holds are not added again.
        image_url: instead of uploading, photos are at this address with their name after it.
        say: called with where the project is, as soon as it is made.

    Raises:
        InputError: for a photo that is not there, before anything is made; for a server that refuses.
    """
    by_id = {record.id: record for record in records}
    wanted = list(keys)
    paths = {by_id[identity].image: find_image(images_dir, by_id[identity].image) for identity, _ in wanted}
    known: set[Key] = set()
    addresses: dict[str, str] = {}
    if project is None:
        server.me()
        project = server.create_project(title, CONFIG, reviews, INSTRUCTION)
    else:
        check_project(server, project)
        for task in server.tasks(project):
            data = task.get("data")
            key = _key(data)
            if key is not None and isinstance(data, dict):
                known.add(key)
                addresses[str(data.get("photo"))] = str(data.get("image"))
    say(
        f"project {project} at {server.url}/projects/{project}; if this is interrupted, go on with --project {project}"
    )
    missing = [key for key in wanted if key not in known]
    for part in batches(missing, TASKS_AT_ONCE):
        tasks = []
        for identity, place in part:
            record = by_id[identity]
            if record.image not in addresses:
                addresses[record.image] = (
                    server.upload(project, paths[record.image])
                    if image_url is None
                    else image_url + quote(record.image)
                )
            tasks.append(task_of(record, place, addresses[record.image]))
        server.add_tasks(project, tasks)
    return project, len(missing)


def check_project(server: LabelStudio, project: int) -> None:
    """Raise InputError where a project is not one that `push` made, or its labeling setup was changed by hand."""
    config = server.project(project).get("label_config")
    names = ('name="decision"', 'name="box"', 'name="sentence"', *(f'value="{choice}"' for choice in CHOICES))
    gone = [name for name in names if not isinstance(config, str) or name not in config]
    if gone:
        raise InputError(
            f"project {project} has no {gone[0]} in its labeling setup: it was changed by hand, or `piza data verify push` "
            "did not make it"
        )


def task_of(record: Checked, place: int, address: str) -> dict[str, Any]:
    """One sentence as a task. address: of the photo, for the browser. The box is in percent of the photo there."""
    sentence = record.sentences[place]
    x, y, width, height = record.bbox
    value = {
        "x": 100 * x / record.width,
        "y": 100 * y / record.height,
        "width": 100 * width / record.width,
        "height": 100 * height / record.height,
        "rotation": 0,
        "rectanglelabels": [LABEL],
    }
    size = {"original_width": record.width, "original_height": record.height, "image_rotation": 0}
    result = [
        {
            "id": "box",
            "from_name": "box",
            "to_name": "photo",
            "type": "rectanglelabels",
            **size,
            "value": value,
        },
        {"id": "sentence", **_words("sentence", sentence.text)},
        *([{"id": "doubts", **_words("doubts", joined(sentence.findings))}] if sentence.findings else []),
    ]
    data = {
        "image": address,
        "photo": record.image,
        "text": sentence.text,
        "id": record.id,
        "sentence": place,
        "bbox": list(record.bbox),
    }
    return {
        "data": data,
        "predictions": [{"model_version": "piza", "score": 1 - record.doubt, "result": result}],
    }


def _words(name: str, text: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "photo", "type": "textarea", "value": {"text": [text]}}


def pull(server: LabelStudio, project: int, records: Sequence[Checked]) -> Pulled:
    """The decisions in a project. Raises InputError for a project that is gone or that `push` did not make."""
    check_project(server, project)
    return decisions_of(server.tasks(project), {record.id: record for record in records}, server.users())


def decisions_of(
    tasks: Iterable[Mapping[str, Any]], records: Mapping[str, Checked], users: Mapping[int, str]
) -> Pulled:
    """The annotations of exported tasks as decisions.

    A task whose words or box are not those of the record, an annotation without a choice, with several boxes or sentences,
    or one that fixes nothing, is a problem and gives no decision. Who accepts and yet moved the box or changed a word has
    fixed it. A person's several annotations of one task are as many decisions.
    """
    pulled = Pulled()
    for task in tasks:
        name = f"task {task.get('id')}"
        data = task.get("data")
        key = _key(data)
        record = records.get(key[0]) if key else None
        if key is None or record is None or not isinstance(data, Mapping) or key[1] >= len(record.sentences):
            pulled.problems.append(
                f"{name} is about none of these sentences; it was added by hand, or is of another set"
            )
            continue
        if data.get("text") != record.sentences[key[1]].text or data.get("bbox") != list(record.bbox):
            pulled.problems.append(f"{name} was changed by hand: its sentence or box is not that of {key[0]}")
            continue
        annotations = task.get("annotations")
        live = [
            one for one in annotations if isinstance(one, Mapping) and not one.get("was_cancelled")
        ] if isinstance(annotations, list) else []  # fmt: skip
        pulled.unfinished += not live
        for annotation in live:
            try:
                pulled.decisions.append(_decision(annotation, key, record, users))
            except InputError as error:
                pulled.problems.append(f"{name}: {error}")
    pulled.decisions.sort(key=lambda one: one.when)
    return pulled


def _key(data: Any) -> Key | None:
    if not isinstance(data, Mapping):
        return None
    identity, place = data.get("id"), data.get("sentence")
    if isinstance(identity, str) and isinstance(place, int) and not isinstance(place, bool) and place >= 0:
        return identity, place
    return None


def _decision(annotation: Mapping[str, Any], key: Key, record: Checked, users: Mapping[int, str]) -> Decision:
    who = _who(annotation.get("completed_by"), users)
    parts: dict[str, list[Mapping[str, Any]]] = {}
    result = annotation.get("result")
    for part in result if isinstance(result, list) else []:
        if isinstance(part, Mapping) and isinstance(part.get("value"), Mapping):
            parts.setdefault(str(part.get("from_name")), []).append(part)
    choices = [choice for part in parts.get("decision", []) for choice in part["value"].get("choices", ())]
    if len(choices) != 1 or choices[0] not in CHOICES:
        raise InputError(
            f"{who} chose {', '.join(map(str, choices)) or 'nothing'}, expected accept, fix or reject"
        )
    choice = choices[0]
    original = record.sentences[key[1]].text
    texts = [text for part in parts.get("sentence", []) for text in part["value"].get("text", ())]
    if choice == "reject":
        return Decision(*key, "reject", original, record.bbox, who, _when(annotation))
    if len(texts) > 1 or len(parts.get("box", [])) > 1:
        raise InputError(
            f"{who} left {len(parts.get('box', []))} boxes and {len(texts)} sentences, expected one of each"
        )
    text = str(texts[0]) if texts else original
    box = _box(parts["box"][0], record, who) if parts.get("box") else record.bbox
    if _is_same(box, record.bbox):
        box = record.bbox
    changed = box != record.bbox or text.split() != original.split()
    if choice == "fix" and not changed:
        raise InputError(f"{who} chose fix, but changed neither the sentence nor the box")
    decision = Decision(
        *key, "fix" if changed else "accept", text if changed else original, box, who, _when(annotation)
    )
    try:
        check_kept(decision, record)
    except InputError as error:
        raise InputError(f"what {who} made of it cannot be used: {error}") from None
    return decision


def _box(part: Mapping[str, Any], record: Checked, who: str) -> Box:
    """A rectangle in percent as [x, y, width, height] in pixels, cut off at the edges of the photo."""
    try:
        x, y, width, height = (float(part["value"][name]) / 100 for name in ("x", "y", "width", "height"))
        turned = float(part["value"].get("rotation") or 0)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"the box of {who} has no x, y, width and height") from None
    if abs(turned) > 0.01:
        raise InputError(f"the box of {who} is rotated by {turned:g} degrees, expected an upright one")
    left, top = max(x, 0.0) * record.width, max(y, 0.0) * record.height
    right, bottom = min(x + width, 1.0) * record.width, min(y + height, 1.0) * record.height
    return left, top, right - left, bottom - top


def _is_same(box: Box, original: Box) -> bool:
    """Whether nobody moved the box: percents bring rounding, of less than half a pixel at each edge."""
    edges = abs(xywh_to_xyxy(box) - xywh_to_xyxy(original)).max()
    return bool(edges < MOVED and (edges < 1e-3 or iou_xyxy(xywh_to_xyxy(box), xywh_to_xyxy(original)) > 0.9))


def _who(user: Any, users: Mapping[int, str]) -> str:
    if isinstance(user, Mapping):
        user = user.get("email") or user.get("id")
    if isinstance(user, int):
        return users.get(user, f"user {user}")
    return str(user or "somebody")


def _when(annotation: Mapping[str, Any]) -> str:
    """When an annotation was last changed, in UTC, to the second."""
    text = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")
    except ValueError:
        raise InputError(f"an annotation says it was made at {text!r}, which is no time") from None
