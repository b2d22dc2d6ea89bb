"""Frames of a film, one after the other, upright and with their times. PyAV (FFmpeg) decodes; it is imported only for films.

A film comes from an untrusted place like an image does: FFmpeg reads from an open file and can reach no other, only common
containers are tried, and frames of too many pixels are refused before they are decoded.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from piza.errors import InputError, reason

if TYPE_CHECKING:
    from piza.image import ImageArray

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
)  # fmt: skip
"""Names of films end like this, in capital letters or not."""

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
"""What FFmpeg may take a film for. A closed list, because it also reads lists of other files and addresses (HLS, concat)."""

CUT_SECONDS = 0.5
"""A film whose images end this much earlier than its head says is cut off; containers round."""


@dataclass(frozen=True)
class FrameTime:
    """Where a frame is in its film.

    number: counted from 0, as far as frames could be decoded. seconds: since the first frame.
    """

    number: int
    seconds: float

    @property
    def timecode(self) -> str:
        """Hours, minutes, seconds and milliseconds since the first frame: "00:00:12.480"."""
        milliseconds = max(0, round(self.seconds * 1000))
        minutes, rest = divmod(milliseconds, 60_000)
        return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def is_video_name(text: str) -> bool:
    """Whether a text ends like the name of a film."""
    return os.path.splitext(text)[1].lower() in VIDEO_SUFFIXES


def import_av() -> Any:
    """PyAV. Raises InputError where it is not installed."""
    try:
        import av
    except ImportError:
        raise InputError(
            "reading a film needs the package 'av', which is not installed: pip install 'piza[video]'"
        ) from None
    return av


def count_frames(open_file: Callable[[], IO[bytes]], name: str, every: int) -> int | None:
    """How many frames `read_frames` will about give, as the head of the film says; None where it says nothing.

    Raises InputError for what is no film.
    """
    with _opened(open_file, name) as (_, stream, length):
        frames = stream.frames or round((length or 0) * float(stream.average_rate or 0))
        return -(-frames // every) if frames > 0 else None


def read_frames(
    open_file: Callable[[], IO[bytes]], name: str, every: int
) -> Iterator[tuple[FrameTime, "ImageArray"]]:
    """The frames 0, `every`, 2 * `every`, ... of a film: where they are, and uint8 (height, width, 3) RGB, upright.

    One frame is in memory at a time, and those that FFmpeg needs to decode others. Parts that cannot be decoded are left out.

    Args:
        open_file: opens the film for reading; the file can seek, if the container needs that.
        name: of the film, for messages.
        every: frames from one to the next, at least 1.

    Raises:
        InputError: at once for what is no film; after the last frame, where parts could not be decoded or the end is missing.
    """
    with _opened(open_file, name) as (container, stream, length):
        rate, start = float(stream.average_rate or 0), None
        time, end, damage, first_damage = FrameTime(-1, 0.0), 0.0, 0, FrameTime(0, 0.0)
        for frame in _decoded(container, stream):
            failed = isinstance(frame, Exception)
            if failed or frame.is_corrupt:  # its pixels are the decoder's guess
                first_damage, damage = first_damage if damage else time, damage + 1
            if failed:
                continue
            number, seconds = time.number + 1, frame.time
            start = seconds if start is None else start
            if seconds is None or start is None:
                seconds, start = number / rate if rate else 0.0, 0.0
            time = FrameTime(number, seconds - start)
            end = time.seconds + float((frame.duration or 0) * (frame.time_base or 0))
            if number % every == 0 and not frame.is_corrupt:
                pixels = _upright_rgb(frame)
                del frame  # before the next one is decoded
                yield time, pixels
                del pixels
        if time.number < 0:
            raise InputError(f"{name} holds no frame that can be decoded")
        problems = []
        if damage:
            parts = "a part" if damage == 1 else f"{damage:,} parts"
            problems.append(f"{parts} of it could not be decoded, the first after {first_damage.timecode}")
        # Where frames are counted, a longer time alone is a sound that goes on, or the last frame's.
        if length and not 0 < stream.frames <= time.number + 1 and end < length - CUT_SECONDS:
            problems.append(f"it ends after {time.timecode} of {FrameTime(0, length).timecode}")
        if problems:
            raise InputError(f"{name} is damaged: {', and '.join(problems)}")


@contextmanager
def _opened(open_file: Callable[[], IO[bytes]], name: str) -> Iterator[tuple[Any, Any, float | None]]:
    """(container, its first stream of images, how many seconds of these its head promises)."""
    from piza.image import MAX_PIXELS

    av = import_av()
    with open_file() as file:
        try:
            container = av.open(file, options={"format_whitelist": CONTAINERS})
        except InputError:  # of the file
            raise
        except Exception as error:  # FFmpeg meets hostile bytes, and PyAV has a kind for each of its errors
            raise InputError(f"{name} is not a film that can be read: {_why(error)}") from None
        with container:
            if not container.streams.video:
                raise InputError(f"{name} holds no images, expected a film")
            stream = container.streams.video[0]
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            # PyAV's default, threads within a frame: those over frames make different guesses about damage each time.
            yield container, stream, _length(container, stream, av.time_base)


def _length(container: Any, stream: Any, time_base: int) -> float | None:
    """Seconds of a film's images. Of the whole film, sound included, where its images alone have no length of their own."""
    whole = container.duration / time_base if container.duration else None
    tag = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if stream.duration:
        own = float(stream.duration * stream.time_base)
    elif tag:
        own = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    elif len(container.streams) == 1 and whole:
        own = whole
    else:
        return None
    return min(own, whole or own)  # a film that was trimmed holds more than it shows


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames, and the errors of packets that cannot be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except Exception as error:  # the file ends within a packet, or cannot be read any more
            yield error
            return
        try:
            frames = packet.decode()
        except Exception as error:
            yield error
            continue
        while frames:
            yield frames.pop(0)


def _upright_rgb(frame: Any) -> "ImageArray":
    """uint8 (height, width, 3) RGB, turned as the film asks for (phones film sideways)."""
    import numpy as np

    from piza.image import open_image

    pixels = frame.to_ndarray(format="rgb24")
    return open_image(np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels)


def _why(error: Exception) -> str:
    """FFmpeg's words without the number and the file's name."""
    return getattr(error, "strerror", None) or reason(error)
