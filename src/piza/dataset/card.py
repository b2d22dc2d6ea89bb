"""The data card of a split: how much is in it, what of, who agreed, and how it was made. Markdown, as Hugging Face reads it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from piza.data.labels.base import bounded_text
from piza.data.sizes import Sizes
from piza.data.sorec import canonical_name, to_row
from piza.data.stats import Measures, measure, short
from piza.dataset.records import NO_CATEGORY, Proposal
from piza.dataset.split import Split
from piza.errors import InputError
from piza.files import parse_json

UNKNOWN = "not stated"
SAID = 40  # categories that are listed by name


@dataclass(frozen=True)
class About:
    """What only people know of a data set. license: a name such as cc-by-4.0. made_by: steps, as read by `read_settings`.

    agreement: of people, as a table: name -> value.
    """

    title: str = "Referring expressions for small things"
    license: str = ""
    language: str = "en"
    made_by: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)


def read_settings(files: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """The settings that steps keep beside their files (FILE.settings.json), by the file's name.

    files: the records, or the settings themselves. Raises InputError where there are none.
    """
    found = {}
    for file in files:
        path = Path(file)
        if not path.name.endswith(".settings.json"):
            path = path.with_name(f"{path.name}.settings.json")
        name = path.name.removesuffix(".settings.json")
        if name in found:
            raise InputError(f"expected files of different names, got two called {name!r}")
        found[name] = read_object(path, "the settings of a step")
    return found


def read_object(path: str | Path, expected: str) -> dict[str, Any]:
    """The object of a JSON file. Raises InputError for anything else."""
    text = bounded_text(Path(path), expected)
    try:
        content = parse_json(text, repr(str(path)))
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{str(path)!r} is not valid JSON, expected {expected}") from None
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r}: expected a JSON object, {expected}")
    return content


def categories_of(rows: Sequence[dict[str, Any]], records: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The rows, each with the category of the proposal of its photo whose box is nearest; as they are, where they have one.

    Raises InputError for a row about a photo without proposals.
    """
    by_image: dict[str, list[Proposal]] = {}
    for record in records:
        by_image.setdefault(canonical_name(record.image), []).append(record)
    result = []
    for number, row in enumerate(rows, start=1):
        if row.get("category"):
            result.append(row)
            continue
        near = by_image.get(canonical_name(row["image"]))
        if not near:
            raise InputError(f"row {number}: there is no proposal in the photo {row['image']!r}")
        box = row["bbox"]
        best = min(near, key=lambda record: sum(abs(a - b) for a, b in zip(record.bbox, box, strict=True)))
        result.append({**row, "category": best.category or NO_CATEGORY})
    return result


def write_card(split: Split, sizes: Sizes, about: About, configs: Mapping[str, str] | None = None) -> str:
    """The text of the card.

    sizes: of the photos, by name. configs: name of each part -> its files, for a folder that `datasets` loads.
    """
    rows = [row for part in split.parts.values() for row in part]
    rows = list({(row["image"], tuple(row["bbox"]), row["ref"]): row for row in rows}.values())
    lines = [*_front_matter(about, len(rows), configs), f"# {about.title}", ""]
    lines += [
        "Each row names a photo, the box of one small thing in it (x, y, width, height in pixels) and a sentence that leads to "
        "this thing and to no other in the photo.",
        "",
        "## Counts",
        "",
        "| part | rows | photos | things | words a sentence, mean (5 % to 95 %) | % of the photo, median (5 % to 95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in {**split.parts, "all": rows}.items():
        lines.append(_counts(name, measure([to_row(row, n) for n, row in enumerate(part)], sizes)))
    lines += ["", "## Categories", "", *_categories(rows)]
    lines += ["", "## How it was divided", "", *_divided(split)]
    lines += ["", "## How it was made", "", *_made(about)]
    lines += ["", "## Agreement of people", "", *_agreement(about)]
    lines += [
        "",
        "## License",
        "",
        about.license or f"{UNKNOWN}: whoever gives it on must say what the photos allow.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(about: About, rows: int, configs: Mapping[str, str] | None) -> list[str]:
    size = next(
        (
            name
            for limit, name in (
                (10**3, "n<1K"),
                (10**4, "1K<n<10K"),
                (10**5, "10K<n<100K"),
                (10**6, "100K<n<1M"),
                (10**7, "1M<n<10M"),
            )
            if rows < limit
        ),
        "10M<n<100M",
    )
    lines = ["---", f"pretty_name: {json.dumps(about.title)}", f"language: [{about.language}]"]
    if about.license:
        lines.append(f"license: {json.dumps(about.license)}")
    lines += ["task_categories: [object-detection]", f"size_categories: [{json.dumps(size)}]"]
    if configs:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for name, files in configs.items():
            lines += [f"  - split: {name}", f"    path: {files}"]
    return [*lines, "---", ""]


def _counts(name: str, measures: Measures) -> str:
    found = measures.to_dict()
    words, share = found["words_per_sentence"], found["box_area_percent"]
    if not words or not share:
        return f"| {name} | 0 | 0 | 0 | | |"
    spread = [f"{short(v['p5'])} to {short(v['p95'])}" for v in (words, share)]
    return (
        f"| {name} | {found['rows']:,} | {found['images']:,} | {found['targets']:,} | {short(words['mean'])} ({spread[0]}) | "
        f"{short(share['median'])} ({spread[1]}) |"
    )


def _categories(rows: Sequence[dict[str, Any]]) -> list[str]:
    counts = Counter(str(row["category"]) for row in rows if row.get("category"))
    if not counts:
        return [UNKNOWN.capitalize() + "."]
    listed = [f"{_plain(name)} {count:,}" for name, count in counts.most_common(SAID)]
    rest = len(counts) - len(listed)
    return [", ".join(listed) + (f", and {rest} more" if rest else "") + " (rows)."]


def _divided(split: Split) -> list[str]:
    made = split.made_with
    together = [group for group in split.groups if len(group.images) > 1]
    lines = [
        f"By {made.get('by')}, seed {made.get('seed')}; no photo is in two of the parts, but Train-S is a part of Train-L."
    ]
    if "trainS" not in split.parts:
        lines = [f"By {made.get('by')}, seed {made.get('seed')}; no photo is in two parts."]
    if made.get("similar") is not None:
        lines.append(
            f"Photos whose difference hashes differ in at most {made['similar']} of 256 bits are on one side. "
        )
    if together:
        photos = sum(len(group.images) for group in together)
        lines.append(
            f"{photos:,} photos are in {len(together):,} groups that stay together (split.json lists them)."
        )
    return [line.strip() for line in lines]


def _made(about: About) -> list[str]:
    if not about.made_by:
        return [f"{UNKNOWN.capitalize()}."]
    lines = ["| file | setting | value |", "|---|---|---|"]
    for name, settings in about.made_by.items():
        for key, value in settings.items():
            lines.append(f"| {_plain(name)} | {_plain(key)} | {_plain(json.dumps(value))} |")
    return lines


def _agreement(about: About) -> list[str]:
    """What `piza data verify rows --agreement` wrote, people without their names; or any other numbers."""
    if not about.agreement:
        return [f"{UNKNOWN.capitalize()}: no review was given."]
    lines = ["| | |", "|---|---|"]
    for name, value in about.agreement.items():
        if value == []:  # nobody decided about what another one did
            continue
        pairs = value if isinstance(value, list) else []
        if not pairs or not all(isinstance(pair, dict) for pair in pairs):
            lines.append(f"| {_plain(name)} | {_plain(json.dumps(value))} |")
        for number, pair in enumerate(pairs, start=1):
            said = ", ".join(f"{key} {_number(v)}" for key, v in pair.items() if key != "who")
            lines.append(f"| pair {number} of people | {_plain(said)} |")
    return lines


def _number(value: Any) -> str:
    return short(float(value)) if isinstance(value, (int, float)) else json.dumps(value)


def _plain(text: str) -> str:
    """Text that breaks no table."""
    return " ".join(str(text).split()).replace("|", "/").strip('"')
