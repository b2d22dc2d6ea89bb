"""`piza data split`, `piza data merge`, `piza data dedupe`: rows on different sides, together, and without copies."""

import argparse
from pathlib import Path
from typing import Any

from piza.cli.common import as_number, at_least, note, over
from piza.errors import FARTHEST, HASH_BITS, MAX_COUNT, MAX_SEED, InputError

BITS = 24  # as piza.dataset.similar_photos.SIMILAR, so that --help imports nothing


def add_split(kinds: Any) -> None:
    """Add `piza data split`, `merge` and `dedupe` to the parser's `kinds`."""
    split = kinds.add_parser("split", help="divide rows: training, validation, tests; with a data card")
    split.add_argument("data", metavar="ROWS.json", help="rows in SOREC's format")
    split.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")
    split.add_argument(
        "--out", metavar="DIR", required=True, help="the folder for PART.json, README.md and split.json"
    )
    split.add_argument(
        "--parts",
        metavar="NAME=SHARE,...",
        type=_parts,
        help="such as train=8,val=1,test=1 (default: SOREC's layout)",
    )
    split.add_argument(
        "--by",
        choices=("photo", "place", "time"),
        default="photo",
        help="what is never parted (default: photo)",
    )
    split.add_argument(
        "--pattern", metavar="REGEX", help="by place: what in a photo's name says where it is of"
    )
    split.add_argument(
        "--near", metavar="M", type=over(0, FARTHEST), default=100.0, help="by place: meters (default: 100)"
    )
    split.add_argument(
        "--seed",
        metavar="S",
        type=at_least(0, MAX_SEED),
        default=0,
        help="same seed, same parts (default: 0)",
    )
    _similar_option(split, "photos that look the same stay together; -1: not looked for")
    split.add_argument(
        "--records", metavar="FILE.jsonl", help="proposals or described ones, where categories are read"
    )
    split.add_argument(
        "--huggingface", metavar="DIR", help="also write a folder that datasets loads; needs pyarrow"
    )
    split.add_argument("--embed", action="store_true", help="put the photos into it")
    card = split.add_argument_group("for the data card")
    card.add_argument("--title", metavar="TEXT", help="of the data set")
    card.add_argument("--license", metavar="NAME", default="", help="such as cc-by-4.0")
    card.add_argument(
        "--made-with", metavar="FILE", nargs="+", default=[], help="files of the steps, for their settings"
    )
    card.add_argument("--agreement", metavar="FILE.json", help="an object of numbers about the reviews")
    split.set_defaults(run=_split)

    merge = kinds.add_parser("merge", help="make one file of several files of rows")
    merge.add_argument("data", metavar="ROWS.json", nargs="+", help="files in SOREC's format")
    merge.add_argument("--out", metavar="OUT.json", required=True, help="the file to write")
    merge.add_argument(
        "--under", metavar="DIR", nargs="+", default=[], help="a folder for each file's photos ('' for none)"
    )
    merge.set_defaults(run=_merge)

    dedupe = kinds.add_parser("dedupe", help="of photos that look the same keep one, with its rows")
    dedupe.add_argument("data", metavar="ROWS.json", help="rows in SOREC's format")
    dedupe.add_argument("--images", metavar="DIR", required=True, help="the folder of the photos")
    dedupe.add_argument("--out", metavar="OUT.json", required=True, help="the file to write")
    _similar_option(dedupe, "bits of 256 that may differ")
    dedupe.set_defaults(run=_dedupe)


def _similar_option(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument(
        "--similar",
        metavar="BITS",
        type=at_least(-1, HASH_BITS),
        default=BITS,
        help=f"{help} (default: {BITS})",
    )


def _split(options: argparse.Namespace) -> None:
    from piza.data.parquet import import_pyarrow
    from piza.data.sizes import read_sizes
    from piza.data.sorec import read_values
    from piza.dataset.card import About, categories_of, read_object, read_settings, write_card
    from piza.dataset.huggingface import write_folder
    from piza.dataset.records import read_records
    from piza.dataset.split import files_of_split, split_rows, write_split
    from piza.dataset.view import kind_of_file
    from piza.files import atomic_write, check_not_read

    if options.embed and not options.huggingface:
        raise InputError("--embed puts photos into the folder that --huggingface names; give both")
    read = [options.data, options.records, options.agreement, *options.made_with]
    written = [*files_of_split(options.parts, options.out), Path(options.out) / "README.md"]
    check_not_read(written, [file for file in read if file])
    if options.huggingface:
        import_pyarrow()
    rows = read_values(options.data)
    about = About(
        title=options.title or Path(options.out).resolve().name,
        license=options.license,
        made_by=read_settings(options.made_with),
        agreement=read_object(options.agreement, "numbers about the reviews") if options.agreement else {},
    )
    if options.records:
        rows = categories_of(rows, read_records(options.records, kind_of_file(options.records)))
    similar = None if options.similar < 0 else options.similar
    split = split_rows(
        rows, options.images, options.parts, options.by, options.seed, options.pattern, options.near, similar
    )
    sizes, _ = read_sizes((row["image"] for row in rows), options.images)
    write_split(split, options.out)
    with atomic_write(Path(options.out) / "README.md") as temporary:
        temporary.write_text(write_card(split, sizes, about), encoding="utf-8")
    if options.huggingface:
        write_folder(split, options.huggingface, sizes, about, options.images if options.embed else None)
    for name, part in split.parts.items():
        print(f"{name}: {len(part)} rows, {len({row['image'] for row in part})} photos")
    together = sum(len(group.images) > 1 for group in split.groups)
    if together:
        note(f"{together} groups of photos stay together ({options.out}/split.json)")


def _merge(options: argparse.Namespace) -> None:
    from piza.data.sorec import read_values, write_values
    from piza.dataset.merge import merge_rows
    from piza.files import check_not_read, check_writable

    check_not_read([options.out], options.data)
    check_writable(options.out)
    merged = merge_rows([(name, read_values(name)) for name in options.data], options.under)
    write_values(merged.rows, options.out)
    if merged.repeated:
        note(f"left out {merged.repeated} rows that are there already")
    if merged.renumbered:
        note("ids were given anew, as some were there twice or missing")
    print(f"{len(merged.rows)} rows in {options.out}")


def _dedupe(options: argparse.Namespace) -> None:
    from piza.data.sorec import read_values, write_values
    from piza.dataset.merge import dedupe_rows
    from piza.files import check_not_read, check_writable

    check_not_read([options.out], [options.data])
    check_writable(options.out)
    if options.similar < 0:
        raise InputError(f"--similar: expected at least 0 bits, got {options.similar}")
    rows = read_values(options.data)
    done = dedupe_rows(rows, options.images, options.similar)
    write_values(done.rows, options.out)
    for group in done.groups:
        note(f"{group[0]} is kept of {', '.join(group)}")
    dropped = sum(len(group) - 1 for group in done.groups)
    print(
        f"{len(done.rows)} of {len(rows)} rows in {options.out}; {dropped} of {done.photos} photos look like another"
    )


def _parts(text: str) -> dict[str, float]:
    parts: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = item.partition("=")
        name = name.strip()
        value = as_number(share)
        if not name.isidentifier() or name == "split" or name in parts or not 0 < value <= MAX_COUNT:
            raise argparse.ArgumentTypeError(
                f"expected NAME=SHARE,NAME=SHARE such as train=8,val=1,test=1, got {text!r}"
            )
        parts[name] = value
    return parts
