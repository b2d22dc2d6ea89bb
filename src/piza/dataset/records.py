"""What the steps hand to each other: JSON lines, one record a line, each saying which step wrote it.

| step | record | what it adds |
|---|---|---|
| propose | `Proposal` | a small object in a photo |
| describe | `Described` | sentences about it |
| check | `Checked` | what machines doubt in each sentence |
| verify | `Decision` | what a person decided about one sentence |

Files are read whole and checked line by line; they are written by appending (`RecordWriter`), so that a step that was
stopped goes on where it was.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import Field

from piza.config import from_json, settings
from piza.data.labels.base import bounded_text
from piza.data.sorec import canonical_name, check_image_name, kind_of, to_json
from piza.errors import InputError
from piza.files import atomic_write, check_writable, lock, parse_json

MAX_BYTES = 2**31  # of a file of records
COMMANDS = {
    "propose": "piza data propose",
    "describe": "piza data describe",
    "check": "piza data machine-check",
    "verify": "piza data verify",
}
"""Who writes the records of each step."""

NO_CATEGORY = "unknown"  # the category of a row whose proposal has none
MAX_LINE_BYTES = 1_000_000  # of a record
SLACK = 0.01  # pixels by which rounding may take a box over the edge of its photo
Text = Annotated[str, Field(min_length=1)]
Box = tuple[float, float, float, float]


class Record(Protocol):
    """A frozen settings class (`piza.config.settings`) with the name of its step."""

    STEP: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


Kind = TypeVar("Kind", bound=Record)


@settings()
class Proposal:
    """A small object in a photo, which sentences may be about.

    id: made of the photo's name and the box (`proposal_id`). image: name relative to the folder of photos. width, height:
    of the photo in pixels. bbox: [x, y, width, height] in its pixels. category: "" where it is not known. score: as
    its source gave it. source: what proposed it, such as "mini". attributes: words as "color=red". kept_because: in
    words.
    """

    STEP: ClassVar[str] = "propose"

    id: Text
    image: Text
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    bbox: Box
    category: str
    score: float
    source: str
    attributes: tuple[str, ...]
    kept_because: str

    def __post_init__(self) -> None:
        check_image_name(self.image)
        check_box(self.bbox, (self.width, self.height))

    @property
    def box_xyxy(self) -> Box:
        """Left, top, right, bottom in pixels of the photo."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height

    @property
    def share(self) -> float:
        """The part of the photo that the box fills, 0 to 1."""
        return self.bbox[2] * self.bbox[3] / (self.width * self.height)


@settings()
class Sentence:
    """A sentence about a proposal. by: the model or generator that wrote it. prompt: name of the prompt's file, or ""."""

    text: Text
    by: str
    prompt: str = ""


@settings()
class Described(Proposal):
    """A proposal with sentences; none where nobody found one."""

    STEP: ClassVar[str] = "describe"

    sentences: tuple[Sentence, ...]


@settings()
class Finding:
    """A doubt about a sentence. kind: in a word, for counting. score: 0 to 1, how grave. message: for people."""

    kind: Text
    score: Annotated[float, Field(ge=0, le=1)]
    message: str


@settings()
class CheckedSentence(Sentence):
    """A sentence with what machines doubt in it."""

    findings: tuple[Finding, ...] = ()


@settings()
class Checked(Proposal):
    """A proposal whose sentences machines have looked at. doubt: 0 to 1, what people should look at first."""

    STEP: ClassVar[str] = "check"

    sentences: tuple[CheckedSentence, ...]
    doubt: Annotated[float, Field(ge=0, le=1)]


@settings()
class Decision:
    """What one person decided about one sentence; a later decision of the same person replaces it.

    id: of the proposal. sentence: its place among the proposal's sentences, from 0. text, bbox: as they are to be, of
    "accept" as they were. who: the person's name. when: ISO 8601.
    """

    STEP: ClassVar[str] = "verify"

    id: Text
    sentence: Annotated[int, Field(ge=0)]
    decision: Literal["accept", "fix", "reject"]
    text: str
    bbox: Box
    who: Text
    when: str


def proposal_id(image: str, bbox: Iterable[float]) -> str:
    """Twelve hexadecimal digits, the same wherever the photo's name and the box (to a hundredth pixel) are the same."""
    text = json.dumps([canonical_name(image), [f"{value:.2f}" for value in bbox]], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_box(bbox: Box, size: tuple[int, int]) -> None:
    """Raise InputError unless a box [x, y, width, height] has an area and lies in its photo of (width, height) pixels."""
    x, y, width, height = bbox
    shown = ", ".join(f"{value:g}" for value in bbox)
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise InputError(
            f"bbox: expected [x, y, width, height] in pixels, x and y of at least 0 and sides over 0, got [{shown}]"
        )
    if x + width > size[0] + SLACK or y + height > size[1] + SLACK:
        raise InputError(f"bbox: [{shown}] reaches out of its photo of {size[0]} x {size[1]} pixels")


def proposal_fields(record: Proposal) -> dict[str, Any]:
    """The fields that every record about a proposal has, by name: `Described(**proposal_fields(p), sentences=...)`."""
    return {field.name: getattr(record, field.name) for field in fields(Proposal)}


def to_line(record: Any) -> str:
    """A record as one line of JSON, its step first."""
    return to_json({"step": record.STEP, **asdict(record)})


def read_records(path: str | Path, kind: type[Kind]) -> list[Kind]:
    """The records of a file of JSON lines, in order.

    Raises InputError, naming the file, the line and the field: for a file of another step or another kind, a value that is
    not what it must be, two proposals of one id, and a last line that was cut off while it was written.
    """
    path = Path(path)
    return [record for record, _ in _parse(path, _text(path, kind), kind)]


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write a file of records, whole or not at all; returns how many."""
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for record in records:
            file.write(f"{to_line(record)}\n")
            count += 1
    return count


class RecordWriter(Generic[Kind]):
    """Appends records to a file; what `write` has returned from is on the disk.

    A file that is there is gone on with: `existing` holds its records, and a last line that was cut off by a kill is dropped.
    One process at a time writes to a file. Use it in a `with` block.

    Args:
        path: the file.
        kind: the class of its records.
        made_with: the settings of the step, kept beside the file as PATH.settings.json: going on with other ones is refused,
            as the file would then be made in two ways. Plain JSON values. None: there are none.
        begun: the step was begun with these settings, even if it has made no record yet.

    Raises:
        InputError: as `read_records` for what is in the file already; for other settings than it was begun with; where it
            cannot be written to, or another process does so now; and, when writing, for a full disk, which leaves no half line.
    """

    def __init__(
        self,
        path: str | Path,
        kind: type[Kind],
        made_with: Mapping[str, Any] | None = None,
        begun: bool = False,
    ):
        self.path = Path(path)
        check_writable(self.path)
        self.existing: list[Kind] = []
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None
        try:
            lock(self._file, self.path)
            _drop_half_character(self._file, kind.STEP)
            text = _text(self.path, kind)
            cut = _cut_line(text, self.path, kind)
            text = text.removesuffix(cut)
            self.existing = [record for record, _ in _parse(self.path, text, kind)]
            os.ftruncate(self._file, os.fstat(self._file).st_size - len(cut.encode()))
            if text and not text.endswith("\n"):  # an editor has left the last record without
                os.write(self._file, b"\n")
            if made_with is not None:
                self._check_settings(json.loads(to_json(made_with)), begun or bool(self.existing))
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "RecordWriter[Kind]":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, *records: Kind) -> None:
        """Append records, all of them or none."""
        data = "".join(f"{to_line(record)}\n" for record in records).encode()
        before = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, before)
            raise InputError(f"cannot write {str(self.path)!r}: {error.strerror}") from None

    def _check_settings(self, made_with: dict[str, Any], begun: bool) -> None:
        beside = self.path.with_name(f"{self.path.name}.settings.json")
        if begun and beside.is_file():
            text = bounded_text(beside, "settings")
            try:
                before = parse_json(text, repr(str(beside)))
            except InputError:
                raise
            except (ValueError, RecursionError):
                raise InputError(
                    f"{str(beside)!r} is not valid JSON, expected what {str(self.path)!r} was made with"
                ) from None
            if not isinstance(before, dict):
                raise InputError(
                    f"{str(beside)!r}: expected an object, what {str(self.path)!r} was made with, got {kind_of(before)}"
                )
            for name in sorted({*before, *made_with}):
                if before.get(name) != made_with.get(name):
                    raise InputError(
                        f"{str(self.path)!r} was begun with {name} {_shown(before.get(name))}, now it is "
                        f"{_shown(made_with.get(name))}: go on with the first, or write to another file"
                    )
        with atomic_write(beside) as temporary:
            temporary.write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")


def _drop_half_character(file: int, step: str) -> None:
    """Takes the beginning of a character in UTF-8 off the end of a record that a kill has cut off; not off anybody else's file."""
    size = os.fstat(file).st_size
    os.lseek(file, max(0, size - MAX_LINE_BYTES), os.SEEK_SET)  # writing appends, wherever this is
    end = os.read(file, MAX_LINE_BYTES)
    if not end[end.rfind(b"\n") + 1 :].startswith(f'{{"step": "{step}"'.encode()):
        return
    for count in range(1, min(4, len(end) + 1)):
        if end[-count] >= 0xC0:  # begins a character of two, three or four bytes
            if count < (2 if end[-count] < 0xE0 else 3 if end[-count] < 0xF0 else 4):
                os.ftruncate(file, size - count)
            return


def _shown(value: Any) -> str:
    text = to_json(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _text(path: Path, kind: type[Kind]) -> str:
    return bounded_text(path, f"JSON lines of `{COMMANDS.get(kind.STEP, kind.STEP)}`", MAX_BYTES)


def _cut_line(text: str, path: Path, kind: type[Kind]) -> str:
    """The last line, if it is the beginning of a record whose end a kill has cut off; else nothing.

    Raises InputError for a last line that no record begins with: it is a person's own, and not to be dropped.
    """
    last = text[text.rfind("\n") + 1 :]
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        if last.strip() and not last.startswith(f'{{"step": "{kind.STEP}"'[: len(last)]):
            command = COMMANDS.get(kind.STEP, kind.STEP)
            raise InputError(
                f"{str(path)!r}: expected JSON lines of `{command}` to go on with, but its last line is none"
            ) from None
        return last
    return ""


def _parse(path: Path, text: str, kind: type[Kind]) -> Iterator[tuple[Kind, int]]:
    """Records and the numbers of their lines."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        values = _values(line, where, kind, cut=number > text.count("\n"))
        record = from_json(kind, to_json(values), where)
        identity = values["id"] if issubclass(kind, Proposal) else None
        if identity is not None and lines.setdefault(identity, number) != number:
            raise InputError(f"{where}, field 'id': {identity!r} is the id of line {lines[identity]} too")
        yield record, number


def _values(line: str, where: str, kind: type[Kind], cut: bool) -> dict[str, Any]:
    command = COMMANDS.get(kind.STEP, kind.STEP)
    try:
        values = parse_json(line, where)
    except InputError:
        raise
    except (ValueError, RecursionError):
        if cut:
            raise InputError(
                f"{where} is cut off; run `{command}` again, which goes on where it was stopped"
            ) from None
        rows = f", as `{command}` writes it; a file of rows begins so" if line.strip() == "[" else ""
        raise InputError(f"{where}: expected one JSON object{rows}, got {line.strip()[:40]!r}") from None
    if not isinstance(values, dict):
        hint = ", as in a file of rows" if isinstance(values, list) else ""
        raise InputError(
            f"{where}: expected one JSON object, as `{command}` writes it, got {kind_of(values)}{hint}"
        )
    step = values.pop("step", None)
    if step != kind.STEP:
        got = f"a file of `{COMMANDS[step]}`" if isinstance(step, str) and step in COMMANDS else _shown(step)
        raise InputError(f"{where}, field 'step': expected a file of `{command}`, got {got}")
    return values
