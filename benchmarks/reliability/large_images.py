"""What the largest images that are taken cost: memory and CPU of opening one of each format and kind of pixels.

    python benchmarks/reliability/large_images.py --out runs/reliability/large_images.jsonl

Each is of one color, so that its file is small, as one made in bad faith would be; each is opened in a process of its own.
The same command goes on where it was stopped.
"""

import argparse
import io
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

from peak_memory import memory, reset_memory
from PIL import Image

SIDE = 12_240  # squared, just below image.MAX_PIXELS
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "JPEG", {}),
    "JPEG, progressive, 4:4:4": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "JPEG, turned": ("RGB", "JPEG", {"exif": 6}),
    "JPEG, CMYK": ("CMYK", "JPEG", {}),
    "PNG": ("RGB", "PNG", {"compress_level": 1}),
    "PNG, transparent": ("RGBA", "PNG", {"compress_level": 1}),
    "PNG, palette and transparent": ("P", "PNG", {"compress_level": 1, "transparency": 0}),
    "PNG, 16 bits": ("I;16", "PNG", {"compress_level": 1}),
    "PNG, one bit": ("1", "PNG", {}),
    "WebP": ("RGB", "WEBP", {"method": 0, "quality": 10}),
    "WebP, transparent": ("RGBA", "WEBP", {"method": 0, "quality": 10}),
    "AVIF": ("RGB", "AVIF", {"speed": 10, "quality": 10}),
    "AVIF, transparent": ("RGBA", "AVIF", {"speed": 10, "quality": 10}),
    "TIFF": ("RGB", "TIFF", {"compression": "tiff_deflate"}),
    "TIFF, LZW, 32 bits": ("I", "TIFF", {"compression": "tiff_lzw"}),
    "GIF": ("P", "GIF", {}),
    "BMP": ("RGB", "BMP", {}),
    "PPM": ("RGB", "PPM", {}),
    "JPEG 2000": ("RGB", "JPEG2000", {}),
    "JPEG 2000, tiled": ("RGB", "JPEG2000", {"tile_size": (512, 512)}),
    "JPEG 2000, transparent": ("RGBA", "JPEG2000", {}),
}  # fmt: skip


def write(kind: str, path: Path, side: int) -> None:
    mode, name, options = KINDS[kind]
    options = dict(options)
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options["exif"] = exif
    Image.new(mode, (side, side)).save(path, name, **options)


def measure(path: str, as_file: bool, queue: Any) -> None:
    from piza.errors import InputError
    from piza.image import open_image

    open_image(encoded_small())
    source: Any = path if as_file else Path(path).read_bytes()
    reset_memory()
    before = memory()
    began = time.process_time()
    try:
        answer = str(open_image(source).shape)
    except InputError as error:
        answer = str(error).replace(path, "the file")
    queue.put(
        {
            "answer": answer,
            "seconds": round(time.process_time() - began, 2),
            "megabytes": round(memory() - before),
        }
    )


def encoded_small() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def in_a_process(function: Any, *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=function, args=(*arguments, queue))
    process.start()
    while process.is_alive() and queue.empty():
        time.sleep(0.5)
    found = (
        queue.get(timeout=5) if process.exitcode in (0, None) else {"answer": f"died with {process.exitcode}"}
    )
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", default="runs/reliability/large_images.jsonl")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--only", default="", help="kinds whose names hold this")
    options = parser.parse_args()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {json.loads(line)["kind"] for line in out.read_text().splitlines()} if out.is_file() else set()
    for kind in KINDS:
        if kind in done or options.only not in kind:
            continue
        path = out.parent / "large.image"
        write(kind, path, options.side)
        line = {
            "kind": kind,
            "file_kB": path.stat().st_size // 1000,
            **in_a_process(measure, str(path), True),
        }
        path.unlink()
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
