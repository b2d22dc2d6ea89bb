"""What a film costs beside its search: memory and time of decoding, by length. A model is not asked; it answers at once.

python benchmarks/films.py --frames 100 2000 --size 640x360
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.batch.fake_model import FakeModel
from tests.batch.films import make_film

from piza.search.locate_many import locate_many


def megabytes() -> float:
    """Memory of this process that is in use (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    print("frames   asked   s of CPU   MB at most")
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            film = make_film(Path(folder) / "film.avi", frames, (width, height), 25, codec="mpeg4")
            begin, asked, most = time.process_time(), 0, 0.0
            for found in locate_many(FakeModel(), film, "the sign", every=options.every):
                if found.error is not None:
                    raise SystemExit(found.error)
                asked, most = asked + 1, max(most, megabytes())
            print(f"{frames:6} {asked:7} {time.process_time() - begin:10.2f} {most:12.0f}", flush=True)


if __name__ == "__main__":
    main()
