"""Films for tests, encoded as they are needed."""

import numpy as np


def make_film(path, frames=12, size=(64, 48), rate=10, codec="libx264", **container):
    """Frame n has 10 + 20 n as its gray level, a white upper left quarter, and noise in the upper right one."""
    import av

    noise = np.random.default_rng(0)
    with av.open(str(path), "w", **container) as film:
        stream = film.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 4
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), (10 + 20 * number) % 240, np.uint8)
            upper, middle = size[1] // 2, size[0] // 2
            pixels[:upper, :middle] = 255
            pixels[: upper - 4, middle + 4 :] = noise.integers(0, 255, (upper - 4, middle - 4, 1))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        film.mux(stream.encode())
    return path


def cut_off(path, share=0.6):
    """Leave the first part of a film, as a copy that was interrupted."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def damage(path):
    """Change bytes in the middle of a film."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) * 2 // 3, 7):
        content[place] ^= 0x5A
    path.write_bytes(content)
