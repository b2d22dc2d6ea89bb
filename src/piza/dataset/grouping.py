"""Photos that must stay on one side of a split: the same place, the same day, or nearly the same picture."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image

from piza.data.sorec import canonical_name, find_image
from piza.dataset.similar_photos import SIMILAR, connected, hash_photos, similar_pairs
from piza.errors import FARTHEST, HASH_BITS, InputError, check_whole

By = Literal["photo", "place", "time"]

NEAR = 100.0  # meters between photos of one place
EARTH = 6_371_000.0  # radius in meters
DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?:[-_ T.]?([0-2]\d)[-_.:h]?([0-5]\d)[-_.:m]?([0-5]\d))?(?!\d)"
)
"""A date, with a time or without, in the name of a photo: 2026-11-29_12-30-00, IMG_20261129_123000."""


@dataclass(frozen=True)
class Group:
    """Photos that stay together. when: of the first of them, where they are ordered by time."""

    images: list[str]
    when: datetime | None = None


def group_photos(
    images: Sequence[str],
    images_dir: str | Path,
    by: By = "photo",
    pattern: str | None = None,
    near: float = NEAR,
    similar: int | None = SIMILAR,
) -> list[Group]:
    """Groups of photos that a split must keep together.

    Args:
        images: names of photos, each once.
        images_dir: their folder.
        by: "photo": each for itself. "place": by `pattern`, else by the folder in the photo's name, else by the position that
            the camera wrote into it. "time": by day, as the camera wrote it, or as the name says; in order of time.
        pattern: a regular expression that is searched for in the name; its first group, or all of it, names the place.
        near: meters between positions of one place.
        similar: bits of the hash that may differ between photos that look the same, which stay together as well; None: they
            are not looked for.

    Raises:
        InputError: for a photo that cannot be read, or whose place or time is not known.
    """
    if not 0 < near <= FARTHEST:
        raise InputError(f"near: expected meters over 0, at most {FARTHEST}, got {near!r:.40}")
    if similar is not None:
        check_whole("similar", similar, 0, HASH_BITS)
    names = list(dict.fromkeys(images))
    times: dict[str, datetime] = {}
    if by == "time":
        times = {name: _time(name, images_dir) for name in names}
        names.sort(key=lambda name: (times[name], name))
        pairs = _by_key(names, lambda name: times[name].date())
    elif by == "place":
        pairs = _places(names, images_dir, pattern, near)
    else:
        pairs = []
    # One photo may have two names.
    same: Iterable[tuple[str, str]] = [*pairs, *_by_key(names, canonical_name)]
    if similar is not None:
        alike = similar_pairs(hash_photos(names, images_dir), similar)
        same = itertools.chain(same, ((a, b) for a, b, _ in alike))
    return [Group(group, times.get(group[0])) for group in connected(names, same)]


def _by_key(names: Sequence[str], key: Callable[[str], Any]) -> list[tuple[str, str]]:
    """Pairs that connect names of one key."""
    first: dict[Any, str] = {}
    return [(first.setdefault(key(name), name), name) for name in names]


def _places(
    names: Sequence[str], images_dir: str | Path, pattern: str | None, near: float
) -> list[tuple[str, str]]:
    if pattern is not None:
        try:
            rule = re.compile(pattern)
        except re.error as error:
            raise InputError(f"the pattern {pattern!r} is no regular expression: {error}") from None

        def place(name: str) -> str:
            found = rule.search(name)
            if found is None:
                raise InputError(f"the pattern {pattern!r} fits nothing in the name of the photo {name!r}")
            return str(found[1] if rule.groups else found[0])

        return _by_key(names, place)
    folders = {name: canonical_name(name).rpartition("/")[0] for name in names}
    if all(folders.values()):
        return _by_key(names, lambda name: folders[name])
    positions = {name: _position(find_image(images_dir, name)) for name in names}
    for name, position in positions.items():
        if position is None:
            raise InputError(
                f"nothing tells where the photo {name!r} was taken: expected a folder in its name, a position from the camera, "
                "or a pattern for names"
            )
    points = np.radians(np.array([positions[name] for name in names], np.float64)).reshape(-1, 2)
    pairs = []
    for number, name in enumerate(names[:-1]):
        apart = _meters(points[number], points[number + 1 :])
        pairs += [(name, names[number + 1 + int(other)]) for other in np.flatnonzero(apart <= near)]
    return pairs


def _meters(a: Any, b: Any) -> Any:
    """Along the ground between latitudes and longitudes in radians: (2,) and (n, 2) -> (n,)."""
    across = np.sin((b - a) / 2) ** 2
    inner = across[:, 0] + np.cos(a[0]) * np.cos(b[:, 0]) * across[:, 1]
    return 2 * EARTH * np.arcsin(np.sqrt(np.clip(inner, 0, 1)))


def _position(path: Path) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, north and east; None where the camera wrote none."""
    gps = _exif(path, ExifTags.IFD.GPSInfo)
    try:
        angles = []
        for name, sign in (("Latitude", "S"), ("Longitude", "W")):
            degrees, minutes, seconds = (float(v) for v in gps[ExifTags.GPS[f"GPS{name}"]])
            angle = degrees + minutes / 60 + seconds / 3600
            angles.append(-angle if gps.get(ExifTags.GPS[f"GPS{name}Ref"]) == sign else angle)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sound = all(math.isfinite(v) for v in angles) and abs(angles[0]) <= 90 and abs(angles[1]) <= 180
    return (angles[0], angles[1]) if sound and any(angles) else None


def _time(name: str, images_dir: str | Path) -> datetime:
    """When a photo was taken. Raises InputError where nothing tells."""
    taken = _exif(find_image(images_dir, name), ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
    if isinstance(taken, str):
        try:
            return datetime.strptime(taken.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:
            pass
    for found in DATE.finditer(Path(canonical_name(name)).name):
        try:
            return datetime(*(int(v or 0) for v in found.groups()))  # type: ignore[arg-type]
        except ValueError:
            continue
    raise InputError(
        f"nothing tells when the photo {name!r} was taken: expected the camera's DateTimeOriginal or a date such as "
        "20261129 in its name"
    )


def _exif(path: Path, part: int) -> dict[int, Any]:
    """One part of what the camera wrote; {} where it wrote nothing that can be understood."""
    try:
        with Image.open(path) as image:
            return dict(image.getexif().get_ifd(part))
    except Exception:  # broken metadata tells nothing
        return {}
