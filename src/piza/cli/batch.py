"""`piza batch`: a manifest of images and sentences, answered by many workers and written in parts."""

import argparse
from typing import Any

from piza.cli.common import (
    add_model_options,
    add_search_options,
    at_least,
    model_loader,
    note,
    search_options,
)
from piza.errors import MAX_WORKERS


def add_batch(commands: Any) -> None:
    """Add the command to the parser's `commands`."""
    parser = commands.add_parser(
        "batch",
        help="answer a manifest of images and sentences, with many workers",
        description="Answer the rows of a manifest (columns image, sentence and if wanted id) and write them as parts of "
        "Parquet. The same command goes on with a run that was stopped. An image that fails is a row with an error.",
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="a .jsonl, .csv or .parquet file of rows")
    parser.add_argument(
        "--images", metavar="ROOT", required=True, help="the folder of the images, or its address (s3://...)"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to write, or its address")
    parser.add_argument(
        "--workers",
        metavar="N",
        type=at_least(0, MAX_WORKERS),
        default=1,
        help="processes of one thread each, or Ray actors (default: 1; 0 computes in this process)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="let actors of a Ray cluster work: auto, ray://host:10001, or local to start one here",
    )
    parser.add_argument(
        "--shard", metavar="I/N", help="do the I-th of N shares only; all N may write to one folder at once"
    )
    parser.add_argument(
        "--part-rows",
        metavar="N",
        type=at_least(1),
        help="rows a part (default: such that there are some 200 parts)",
    )
    parser.add_argument("--retry", action="store_true", help="do images again whose rows hold an error")
    add_model_options(parser)
    add_search_options(parser)
    parser.set_defaults(run=_batch)


def _batch(options: argparse.Namespace) -> int:
    from piza.batch.jobs import ModelSource, model_source
    from piza.batch.run import BatchCount, run_batch
    from piza.cli.progress import Progress

    source = model_source(options.model, options.device)
    device = f"{options.device}, {options.runtime}" if options.runtime else options.device
    with Progress("row") as bar:

        def progress(count: BatchCount) -> None:
            bar.show(count.done, count.rows, count.failed)

        count = run_batch(
            options.manifest,
            options.images,
            options.out,
            model=ModelSource(model_loader(options), source.name, device, source.digest),
            workers=options.workers,
            ray=options.ray,
            shard=options.shard,
            part_rows=options.part_rows,
            retry=options.retry,
            progress=progress,
            **search_options(options),
        )
    earlier = f", {count.before} of them by earlier runs" if count.before else ""
    note(f"{count.done} rows answered{earlier}; {count.parts} parts in {options.out}")
    if count.failed:
        failure = f", such as {count.failure}" if count.failure else ""
        note(f"{count.failed} rows hold an error{failure}")
    return 1 if count.failed == count.rows > 0 else 0
