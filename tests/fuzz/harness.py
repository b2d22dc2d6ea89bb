"""Coverage-guided fuzzing of one reader, with atheris (libFuzzer), which is no part of the `dev` extra: pip install atheris.

    python tests/fuzz/harness.py rows -runs=100000 -max_len=4096
    python tests/fuzz/harness.py --list

Begins with sound content, and changes it such that ever more lines of piza are reached. An exception other than InputError,
five seconds for one input or 4 GB of memory end it; the input is then kept in a file, and libFuzzer says in which. Further
arguments are libFuzzer's, such as a folder in which to keep what it found.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris

with atheris.instrument_imports(include=["piza"]):
    from tests.fuzz.targets import TARGETS, attempt

KNOWN = [name for name, target in TARGETS.items() if target.seeds]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--list"
    if name not in KNOWN:
        print("\n".join(KNOWN))
        raise SystemExit(name != "--list")
    target = TARGETS[name]
    folder, corpus = Path(tempfile.mkdtemp(prefix="piza-fuzz-")), tempfile.mkdtemp(prefix="piza-corpus-")
    for number, seed in enumerate(target.seeds):
        (Path(corpus) / str(number)).write_bytes(seed)

    def one(data: bytes) -> None:
        attempt(target, data, folder)

    limits = ["-timeout=60" if "FUZZ_SLOW" in os.environ else "-timeout=5", "-rss_limit_mb=4096"]
    own = [f"-artifact_prefix={os.getcwd()}{os.sep}", *limits]
    atheris.Setup([sys.argv[0], *own, *sys.argv[2:], corpus], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
