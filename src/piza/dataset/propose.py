"""Small objects in a folder of photos, which sentences may be about: what `piza data propose` does."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from piza.boxes import xyxy_to_xywh
from piza.config import settings
from piza.data.sorec import check_image_name
from piza.dataset.candidates import Proposer
from piza.dataset.records import Proposal, RecordWriter, proposal_id, write_records
from piza.dataset.selection import Selection, SelectionConfig, select
from piza.errors import InputError
from piza.files import check_writable
from piza.image import open_image
from piza.sources.images import NamedImage, find_images

PHOTOS_SUFFIX = ".photos.jsonl"
"""Of the file beside the proposals that says which photos are done."""


@settings()
class PhotoDone:
    """A photo that was looked at. found: candidates; kept: proposals; dropped: why the others are none, and how many."""

    STEP: ClassVar[str] = "photo"

    image: Annotated[str, Field(min_length=1)]
    found: int
    kept: int
    dropped: dict[str, int]


@dataclass
class Proposed:
    """What a run did. photos: looked at now; before: in an earlier run; failed: a message a photo that cannot be read."""

    photos: int = 0
    before: int = 0
    proposals: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def propose(
    photos_dir: str | Path,
    out: str | Path,
    proposer: Proposer,
    source: str,
    config: SelectionConfig | None = None,
    recursive: bool = False,
    made_with: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Proposed:
    """Write proposals about all photos of a folder to a file of JSON lines.

    A run that was stopped goes on with the photos that are not done; OUT.photos.jsonl says which are. A photo that cannot be
    read is named in the answer, left out and tried again next time.

    Args:
        photos_dir: the folder; names in the proposals are relative to it.
        out: the file, `piza.dataset.records.Proposal` a line.
        proposer: finds objects in a photo, a `Proposer` of `piza.dataset.candidates`.
        source: its name, for the records.
        config: what is kept; None: SOREC's limits.
        recursive: photos in folders of the folder, too.
        made_with: settings of the proposer, plain JSON values: a file is not gone on with under other ones.
        progress: called with photos done, and all.

    Raises:
        InputError: for a folder without photos, a file that cannot be written or was begun with other settings, and whatever
            the proposer refuses.
    """
    config = config or SelectionConfig()
    out, folder = Path(out), Path(photos_dir)
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder, expected a folder of photos")
    check_writable(out)
    images = list(find_images(folder, recursive=recursive))
    for image in images:
        check_image_name(image.inside)
    log = out.with_name(out.name + PHOTOS_SUFFIX)
    _drop_unfinished(out, log)
    settings_of_run = {"source": source, **(made_with or {}), **asdict(config)}
    result = Proposed()
    with (
        RecordWriter(log, PhotoDone) as done,
        RecordWriter(out, Proposal, settings_of_run, begun=bool(done.existing)) as writer,
    ):
        before = {photo.image for photo in done.existing}
        result.before = sum(image.inside in before for image in images)
        waiting = [image for image in images if image.inside not in before]
        for number, image in enumerate(waiting, start=1):
            try:
                size, selection = _look(image, proposer, config)
            except _Unreadable as error:
                result.failed.append(str(error))
                continue
            writer.write(*_proposals(image.inside, size, selection, source))
            kept = len(selection.kept)
            found = kept + sum(selection.dropped.values())
            done.write(PhotoDone(image.inside, found, kept, dict(selection.dropped)))
            result.photos += 1
            result.proposals += kept
            result.dropped += selection.dropped
            progress(result.before + number, len(images))
    return result


class _Unreadable(Exception):
    """A photo, not a setting, is at fault."""


def _look(
    image: NamedImage, proposer: Proposer, config: SelectionConfig
) -> tuple[tuple[int, int], Selection]:
    try:
        picture = open_image(image.read())
    except InputError as error:
        raise _Unreadable(str(error)) from None
    size = (picture.shape[1], picture.shape[0])
    return size, select(proposer(picture, image.inside), size, config)


def _proposals(image: str, size: tuple[int, int], selection: Selection, source: str) -> list[Proposal]:
    found: dict[str, Proposal] = {}
    for kept in selection.kept:
        x, y, width, height = (round(float(v), 2) for v in xyxy_to_xywh(kept.candidate.xyxy))
        box = (x, y, width, height)
        name = proposal_id(image, box)
        candidate = kept.candidate
        found[name] = Proposal(
            name,
            image,
            *size,
            box,
            candidate.category,
            candidate.score,
            source,
            candidate.attributes,
            kept.because,
        )
    return list(found.values())


def _drop_unfinished(out: Path, log: Path) -> None:
    """Takes out proposals of a photo whose run was killed before it was done; it will be looked at again."""
    if not out.is_file() or not out.stat().st_size:
        return
    if not log.is_file():
        raise InputError(
            f"{str(out)!r} is there, but not {str(log)!r}, which says what photos are done: write to another file"
        )
    with RecordWriter(out, Proposal) as writer, RecordWriter(log, PhotoDone) as done:
        finished = {photo.image for photo in done.existing}
        sound = [proposal for proposal in writer.existing if proposal.image in finished]
        complete = len(sound) == len(writer.existing)
    if not complete:
        write_records(out, sound)
