"""Exports a model with weights of eight bits, if that costs no more than a point.

    python recipes/export_int8.py MODEL ROWS.json IMAGES --out FOLDER [--limit 300] [--runtime onnx] [--most 1.0]

Exports the model twice, as it is and with weights of eight bits, evaluates both on the first rows, and prints mAcc, Acc50,
milliseconds and megabytes of each. The folder is written only if mAcc falls by no more than `--most` points; otherwise the
exit code is 1. Few rows make a coarse gate: of 300 rows, one is a third of a point.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import piza
from piza.data.sorec import read_rows
from piza.errors import InputError
from piza.evaluation.run import evaluate
from piza.runtimes import RUNTIMES, load_exported
from piza.runtimes.export import check_folder, export_model


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), default="onnx")
    parser.add_argument("--most", type=float, default=1.0, help="points of mAcc that may be lost")
    args = parser.parse_args()
    check_folder(args.out)
    model, rows = piza.load(args.model), read_rows(args.data)
    lost = 0.0
    with tempfile.TemporaryDirectory() as room:
        for name, int8 in (("float32", False), ("int8", True)):
            folder = Path(room) / name
            export_model(model, folder, int8=int8)
            found = evaluate(load_exported(folder, args.runtime), rows, args.images, limit=args.limit)
            figures = {key: round(getattr(found, key), 2) for key in ("rows", "macc", "acc50", "mean_ms")}
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            print(json.dumps({"weights": name, **figures, "megabytes": round(size, 1)}), flush=True)
            lost += -found.macc if int8 else found.macc
        if lost > args.most:
            print(
                f"{lost:.2f} points of mAcc are lost, more than {args.most:g}: not written", file=sys.stderr
            )
            return 1
        shutil.copytree(Path(room) / "int8", args.out, dirs_exist_ok=True)
    print(f"{lost:.2f} points of mAcc are lost: wrote {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"{error}")
