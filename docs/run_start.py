"""Runs the commands of docs/start.md in a fresh folder and writes their outputs and picture into docs: python docs/run_start.py

A block of commands (```sh) that an output (```text) follows directly is run; others are left alone. To be run again when the
embedded model changes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
BLOCKS = re.compile(r"(```sh\n(.*?)```\n\n```text\n).*?(```\n)", re.DOTALL)
PICTURE = ("search-1.png", "start_search.jpg", 1400)
"""What the commands draw, what the page shows, and how wide."""


def outputs(commands: str, folder: str) -> str:
    """What a terminal shows of some commands of piza, without the prompts."""
    shell = f'set +e\npiza() {{ "{sys.executable}" -W ignore -m piza "$@"; }}\n{commands}'
    run = subprocess.run(["bash", "-c", shell], cwd=folder, text=True, capture_output=True)
    return run.stdout + run.stderr


def main() -> None:
    page = DOCS / "start.md"
    with tempfile.TemporaryDirectory() as folder:

        def filled(block: re.Match[str]) -> str:
            print(block[2], end="", flush=True)
            return f"{block[1]}{outputs(block[2], folder).strip()}\n{block[3]}"

        text = BLOCKS.sub(filled, page.read_text(encoding="utf-8"))
        drawn, shown, width = PICTURE
        with Image.open(Path(folder) / drawn) as image:
            small = image.convert("RGB").resize((width, round(image.height * width / image.width)))
            small.save(DOCS / shown, quality=88, subsampling=0)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
