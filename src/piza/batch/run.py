"""A manifest of rows, answered by any number of workers and written in parts, with nothing done twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from piza.batch.crew import Crew, GivenUp, ThisProcess, run_tasks
from piza.batch.jobs import LocateJob, ModelSource, Records, failed_records, model_source
from piza.batch.manifest import ImageTask, Manifest, read_manifest
from piza.batch.parts import PartFolder, default_part_rows, package_version, part_name, split_parts
from piza.batch.processes import Processes
from piza.batch.storage import Folder, FolderLost, open_folder
from piza.config import SearchConfig
from piza.errors import MAX_COUNT, MAX_WORKERS, InputError, check_whole
from piza.search.locate_many import Locator
from piza.search.predictor import search_config

FIRST_IMAGES = 20
"""If none of the first images that are to be asked about is there, the folder of images is the wrong one."""

MAX_DIGITS = 9
"""Of the numbers of a shard."""

SEARCH = tuple(signature(search_config).parameters)[1:]
"""Keywords of `piza.locate` that a batch takes."""


@dataclass
class BatchCount:
    """How far a run is. Rows are those of its shard.

    rows: in all. done: those that are written, by this or an earlier run, or wait for their part to be full. before: those
    that an earlier run wrote. failed: those that hold an error. failure: the first error of this run. parts: how many parts
    are whole, of num_parts.
    """

    rows: int = 0
    done: int = 0
    before: int = 0
    failed: int = 0
    failure: str | None = None
    parts: int = 0
    num_parts: int = 0


Progress = Callable[[BatchCount], None]


def run_batch(
    manifest: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    model: str | Path | ModelSource | Callable[[], Locator] = "mini",
    device: object = "cpu",
    workers: int = 1,
    ray: str | None = None,
    shard: str | None = None,
    part_rows: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    **search: Any,
) -> BatchCount:
    """Answer the rows of a manifest, and write them as parts of Parquet.

    A run that was stopped, or that could not go on, goes on when it is called again with the same arguments: parts that are
    there are not done again. All sentences about an image are asked together, by one worker, so that they share its first
    look; answers are therefore the same, bit for bit, for any number and kind of workers. An image that cannot be read, that
    cannot be asked about or that ended two workers is a row with an error.

    Args:
        manifest: rows of image, sentence and perhaps id (`piza.batch.manifest.read_manifest`).
        images: the folder that the images' names are relative to; a path, or an address for fsspec.
        out: the folder to write; a path, or an address. New, empty, or of an earlier run with the same settings.
        model: a name, as of `piza.load`, or a function without arguments that loads one and that workers can import.
        device: as of `piza.load`.
        workers: how many processes of one thread each; 0 computes in this process. A program that starts workers must be a file
            whose own work stands under `if __name__ == "__main__":`.
        ray: the address of a Ray cluster ("auto", "ray://host:10001"), or "local" to start one here: workers are actors there,
            with one CPU each (or, where the device is a card, one GPU).
        shard: "2/8" does the second of eight shares of the parts, so that eight runs can write to one folder.
        part_rows: rows a part, about; None has some 200 parts, of 20 to 5,000 rows.
        retry: do images again whose rows hold an error.
        progress: called when images are done.
        search: keywords of `piza.locate`.

    Raises:
        InputError: before anything is asked, for a manifest, folder, model or setting that cannot be used; and later when the
            run cannot go on, as for a full disk or a folder that cannot be reached any more. What is written stays.
    """
    mine, shares = parse_shard(shard)
    _check(workers, part_rows, images, search)
    rows = read_manifest(manifest)
    root, source = open_folder(images), model_source(model, device)
    root.check()
    part_rows = part_rows or default_part_rows(rows.num_rows)
    settings = {
        "version": package_version(),
        "manifest": rows.digest,
        "rows": rows.num_rows,
        "images": root.place,
        "model": source.name,
        "model_files": source.digest,
        "device": source.device,
        "search": search,
        "part_rows": part_rows,
    }
    folder = PartFolder(open_folder(out), settings, rows.has_text_ids)
    there = folder.begin()
    works = _works(rows, part_rows)[mine - 1 :: shares]
    count = BatchCount(rows=sum(work.num_rows for work in works), num_parts=len(works))
    missing = list(_missing(works, rows, folder, there, retry, count))
    progress = progress or (lambda _: None)
    progress(count)
    if missing:
        if not there:
            _check_first_images(missing, rows, root)
        crew = _crew(LocateJob(source, root.place, search), workers, ray)
        size = min(max(workers, 1), sum(len(work.images) for work in missing))
        for _ in _answer(missing, rows, folder, crew, size, count):
            progress(count)
    return count


def parse_shard(text: str | None) -> tuple[int, int]:
    """Number and count of a shard: of "2/8" (2, 8), of None (1, 1). Raises InputError for anything else."""
    if text is None:
        return 1, 1
    number, slash, shares = str(text).partition("/")
    if slash and all(part.isdecimal() and len(part) <= MAX_DIGITS for part in (number, shares)):
        if 1 <= int(number) <= int(shares):
            return int(number), int(shares)
    raise InputError(f"shard: expected one of several such as 2/8, from 1/8 to 8/8, got {str(text)!r:.40}")


@dataclass
class _Work:
    """A part that is to be written. images: those to ask about, by number. num_rows: of the whole part, also of images that an
    earlier run has answered. answers: records by image, as they come in."""

    name: str
    images: Sequence[int]
    num_rows: int
    answers: dict[int, Records]
    retried: bool = False


def _works(rows: Manifest, part_rows: int) -> list[_Work]:
    """All parts of a run, by number."""
    parts = split_parts(rows, part_rows)
    sizes = [int(rows.starts[images.stop] - rows.starts[images.start]) for images in parts]
    return [
        _Work(part_name(number), images, size, {}) for number, (images, size) in enumerate(zip(parts, sizes))
    ]


def _missing(
    works: Sequence[_Work],
    rows: Manifest,
    folder: PartFolder,
    there: set[str],
    retry: bool,
    count: BatchCount,
) -> Iterator[_Work]:
    """The parts that are still to be written; the others are counted."""
    for work in works:
        note = folder.note(work.name) if work.name in there else None
        if note is None or note.rows != work.num_rows:
            yield work
            continue
        todo = 0
        if retry and note.errors:
            failed = {r["row"] for r in folder.read(work.name) if r["error"] is not None}
            tasks = [task for task in map(rows.task, work.images) if not failed.isdisjoint(task.rows)]
            work.images, work.retried = [task.number for task in tasks], True
            todo = sum(len(task.rows) for task in tasks)
            yield work
        else:
            count.failed += note.errors
            count.parts += 1
        count.before += note.rows - todo
        count.done += note.rows - todo


def _answer(
    missing: Sequence[_Work], rows: Manifest, folder: PartFolder, crew: Crew, size: int, count: BatchCount
) -> Iterator[None]:
    """Have the images of the missing parts answered, and write each part when it is full; yields after each image."""
    owners: dict[int, _Work] = {}

    def tasks() -> Iterator[ImageTask]:
        for work in missing:
            for number in work.images:
                owners[number] = work
                yield rows.task(number)

    for task, answer in run_tasks(crew, size, tasks()):
        if isinstance(answer, GivenUp):
            answer = failed_records(
                task, f"two workers ended while they looked at this image: {answer.reason}"
            )
        work = owners.pop(task.number)
        work.answers[task.number] = answer
        errors = [record["error"] for record in answer if record["error"] is not None]
        count.done += len(answer)
        count.failed += len(errors)
        count.failure = count.failure or next(iter(errors), None)
        if len(work.answers) == len(work.images):
            _write(work, folder)
            count.parts += 1
        yield


def _write(work: _Work, folder: PartFolder) -> None:
    records = [record for answer in work.answers.values() for record in answer]
    if work.retried:
        again = {record["row"] for record in records}
        records += [record for record in folder.read(work.name) if record["row"] not in again]
    folder.write(work.name, sorted(records, key=lambda record: (record["image"], record["row"])))
    work.answers = {}


def _crew(job: LocateJob, workers: int, ray: str | None) -> Crew:
    if ray is not None:
        from piza.batch.ray_actors import RayActors

        return RayActors(job, ray, job.model.device)
    return Processes(job) if workers else ThisProcess(job)


def _check(workers: int, part_rows: int | None, images: str | Path, search: dict[str, Any]) -> None:
    """Raise InputError for arguments that cannot be."""
    for name, value, least, most in (
        ("workers", workers, 0, MAX_WORKERS),
        ("part_rows", part_rows, 1, MAX_COUNT),
    ):
        if value is not None:
            check_whole(name, value, least, most)
    if workers and str(images).lower().startswith("memory://"):
        raise InputError(
            "the images in memory:// are this process' own; expected workers=0, which computes in it"
        )
    if unknown := sorted(search.keys() - set(SEARCH)):
        raise InputError(f"{unknown[0]!r} is no setting of a search, expected some of {', '.join(SEARCH)}")
    search_config(SearchConfig(), **search)


def _check_first_images(missing: Sequence[_Work], rows: Manifest, root: Folder) -> None:
    """Raise InputError where none of the first images is there: the folder is not the one that the manifest speaks of."""
    numbers = [number for work in missing[:FIRST_IMAGES] for number in work.images[:FIRST_IMAGES]][
        :FIRST_IMAGES
    ]
    problem = None
    for number in numbers:
        try:
            root.image(rows.task(number).image)
            return
        except FolderLost:
            raise
        except InputError as error:
            problem = problem or error
    raise InputError(f"none of the first {len(numbers)} images can be read: {problem}")
