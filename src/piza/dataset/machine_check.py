"""The step between describing and verifying: machines look at each sentence, so that people begin with the doubtful ones."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from piza.data.sorec import find_image
from piza.dataset.doubt import doubt_of
from piza.dataset.grounding import Asker
from piza.dataset.language_rules import LanguageRules, language_findings
from piza.dataset.near_duplicates import Twin, twins
from piza.dataset.records import (
    Checked,
    CheckedSentence,
    Described,
    Finding,
    RecordWriter,
    Sentence,
    proposal_fields,
    read_records,
)
from piza.errors import InputError
from piza.image import ImageArray, open_image

SAME_AS_ANOTHER, SAID_TWICE = "says the same", "said twice"
TWICE = 0.6  # how grave it is to say the same of one proposal twice; one of the two may stay


@dataclass
class CheckResult:
    """What a run did. checked: proposals in it, before: those of earlier runs. failed: why each photo that could not be looked at
    was left out. kinds: how many sentences have each kind of finding, over the whole file."""

    checked: int = 0
    failed: list[str] = field(default_factory=list)
    before: int = 0
    sentences: int = 0
    doubted: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def machine_check(
    described: str | Path,
    images_dir: str | Path,
    out: str | Path,
    asker: Asker | None,
    rules: LanguageRules = LanguageRules(),  # noqa: B008
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckResult:
    """Check the sentences of a file of `piza data describe`; a run that was stopped goes on where it was.

    A photo that is not there, cannot be read or has another size than it had is left out, and tried again by the next run.

    Args:
        described: the file.
        images_dir: the folder of the photos.
        out: the file to write, `piza.dataset.records.Checked` a line, in the order of `described`, photo by photo.
        asker: a grounder that every sentence is asked of; None: language alone.
        rules: what sentences should be like.
        progress: called with photos done, and all.

    Raises:
        InputError: for a file of another step, where no photo can be looked at, for other settings than the file was begun with,
            and for other sentences than were checked before.
    """
    records = read_records(described, Described)
    photos: dict[str, list[Described]] = defaultdict(list)
    for record in records:
        photos[record.image].append(record)
    made_with = {"asked": asker.name if asker else None, **asdict(rules)}
    result = CheckResult()
    with RecordWriter(out, Checked, made_with) as writer:
        before = {record.id: record for record in writer.existing}
        _compare(before, records, described, out)
        result.before = len(before)
        everything = list(writer.existing)
        done: list[Checked] = []
        for number, (image, proposals) in enumerate(photos.items(), start=1):
            waiting = [record for record in proposals if record.id not in before]
            if waiting:
                try:
                    done += _checked(proposals, waiting, image, images_dir, asker, rules)
                except InputError as error:
                    result.failed.append(str(error))
            if done and (asker is not None or number == len(photos)):  # without a model it is done at once
                writer.write(*done)
                everything += done
                result.checked += len(done)
                done = []
            progress(number, len(photos))
    if len(result.failed) == len(photos) > 0:
        raise InputError(f"no photo can be looked at: {result.failed[0]}")
    _count(result, everything)
    return result


def check_photo(
    proposals: Sequence[Described], image: ImageArray | None, asker: Asker | None, rules: LanguageRules
) -> list[Checked]:
    """The proposals of one photo with the doubts about their sentences.

    image: the photo, (height, width, 3) RGB; only looked at where there is an asker.
    """
    places = [(proposal, place) for proposal in proposals for place in range(len(proposal.sentences))]
    texts = [proposal.sentences[place].text for proposal, place in places]
    findings = [language_findings(text, rules) for text in texts]
    for twin in twins(texts, [0] * len(texts), [proposal.id for proposal, _ in places]):
        for own, other in ((twin.second, twin.first), (twin.first, twin.second)):
            told = any(finding.kind == SAME_AS_ANOTHER for finding in findings[own])
            if own == twin.second if twin.same_thing else not told:
                findings[own].append(twin_finding(twin, texts[other]))
    doubts = [0.0] * len(texts)
    if asker is not None and image is not None and texts:
        answers = asker.ask(image, [(text, proposal.box_xyxy) for text, (proposal, _) in zip(texts, places)])
        for number, ((proposal, _), looks) in enumerate(zip(places, answers, strict=True)):
            doubts[number], finding = doubt_of(texts[number], proposal.box_xyxy, looks)
            findings[number] += [finding] if finding else []
    found: dict[str, list[tuple[Sentence, list[Finding], float]]] = defaultdict(list)
    for (proposal, place), doubted, doubt in zip(places, findings, doubts, strict=True):
        found[proposal.id].append((proposal.sentences[place], doubted, doubt))
    return [_record(proposal, found[proposal.id]) for proposal in proposals]


def twin_finding(twin: Twin, other: str) -> Finding:
    """The finding about one of two sentences that say the same. other: the other one."""
    if twin.same_thing:
        return Finding(SAID_TWICE, TWICE, f"says nearly the same of this thing as {other!r:.90}")
    return Finding(SAME_AS_ANOTHER, 1.0, f"says the same as a sentence about another thing, {other!r:.90}")


def _record(proposal: Described, found: Sequence[tuple[Sentence, list[Finding], float]]) -> Checked:
    sentences = tuple(
        CheckedSentence(
            sentence.text, sentence.by, sentence.prompt, tuple(sorted(findings, key=lambda one: -one.score))
        )
        for sentence, findings, _ in found
    )
    graves = [finding.score for _, findings, _ in found for finding in findings]
    doubt = max([*graves, *(doubt for _, _, doubt in found)], default=0.0)
    return Checked(**proposal_fields(proposal), sentences=sentences, doubt=round(doubt, 4))


def _checked(
    proposals: Sequence[Described],
    waiting: Sequence[Described],
    image: str,
    images_dir: str | Path,
    asker: Asker | None,
    rules: LanguageRules,
) -> list[Checked]:
    """Those of a photo's proposals that are not checked yet; they are compared with all of them."""
    pixels = None
    if asker is not None:
        pixels = open_image(find_image(images_dir, image))
        size = pixels.shape[1], pixels.shape[0]
        if size != (proposals[0].width, proposals[0].height):
            raise InputError(
                f"{image!r} has {size[0]} x {size[1]} pixels, but its proposals are of a photo of {proposals[0].width} x "
                f"{proposals[0].height}: it was changed since"
            )
    wanted = {proposal.id for proposal in waiting}
    return [record for record in check_photo(proposals, pixels, asker, rules) if record.id in wanted]


def _compare(
    before: dict[str, Checked], records: Sequence[Described], described: str | Path, out: str | Path
) -> None:
    known = {record.id: record for record in records}
    for identity, checked in before.items():
        record = known.get(identity)
        said = [sentence.text for sentence in checked.sentences]
        if record is None or said != [sentence.text for sentence in record.sentences]:
            raise InputError(
                f"{str(out)!r} holds the proposal {identity!r} with other sentences than {str(described)!r}: it was made from "
                "another file, so write to a new one"
            )


def _count(result: CheckResult, records: Sequence[Checked]) -> None:
    kinds: dict[str, int] = defaultdict(int)
    for record in records:
        for sentence in record.sentences:
            result.sentences += 1
            result.doubted += bool(sentence.findings)
            for kind in {finding.kind for finding in sentence.findings}:
                kinds[kind] += 1
    result.kinds = dict(sorted(kinds.items(), key=lambda item: -item[1]))
