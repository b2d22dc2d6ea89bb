"""The color of an object in a photo, where its pixels say it clearly.

Wrong colors make wrong sentences, a missing one only makes a sentence rest on something else: whatever is doubtful is no
color. Haze makes every car gray and sand makes it brown, so an object must have dark parts and must differ from what is
around it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# The inner part of the box that is looked at: left, top, right, bottom as shares of its sides.
_BODY = (0.12, 0.25, 0.88, 0.75)
_UPPER = (0.28, 0.20, 0.72, 0.45)  # of people: what is worn above the waist
_VEHICLES = ("car", "van", "truck", "bus", "vehicle")
_PEOPLE = ("person", "cyclist", "motorcyclist")
MIN_SIDE = 5  # pixels of the part that is looked at
MAX_BLACK = 0.30  # how bright the darkest twentieth of an object in clear air is at most

# name: hue from, hue to in degrees, lowest saturation, lowest and highest brightness, least share of the pixels
_HUES = {
    "red": (346, 10, 0.55, 0.20, 1.0, 0.28),
    "orange": (14, 34, 0.65, 0.55, 1.0, 0.35),
    "yellow": (43, 64, 0.50, 0.45, 1.0, 0.32),
    "green": (85, 165, 0.33, 0.15, 1.0, 0.36),
    "blue": (205, 245, 0.50, 0.28, 1.0, 0.34),
    "purple": (262, 300, 0.35, 0.2, 1.0, 0.50),
}


def clear_color(
    picture: NDArray[np.uint8], xyxy: tuple[float, float, float, float], category: str
) -> tuple[str, str]:
    """Name ("red", "" for none) and shade ("", "dark", "light") of a vehicle, or of what a person wears above the waist.

    picture: (height, width, 3) RGB; xyxy in its pixels.
    """
    if category in _VEHICLES:
        part = _BODY
    elif category in _PEOPLE:
        part = _UPPER
    else:
        return "", ""
    if not _in_clear_air(picture, xyxy):
        return "", ""
    return _color_of(_part(picture, xyxy, part), _around(picture, xyxy), category in _PEOPLE)


def _hsv(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 3): hue in degrees, saturation and brightness in [0, 1]."""
    converted = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV).reshape(-1, 3)
    return converted.astype(np.float32) * np.array([2, 1 / 255, 1 / 255], np.float32)


def _part(
    picture: NDArray[np.uint8],
    xyxy: tuple[float, float, float, float],
    shares: tuple[float, float, float, float],
) -> NDArray[np.float32] | None:
    x1, y1, x2, y2 = xyxy
    w, h = x2 - x1, y2 - y1
    left, top, right, bottom = (
        round(v) for v in (x1 + shares[0] * w, y1 + shares[1] * h, x1 + shares[2] * w, y1 + shares[3] * h)
    )
    crop = picture[max(0, top) : bottom, max(0, left) : right]
    return _hsv(crop) if min(crop.shape[:2]) >= MIN_SIDE else None


def _around(picture: NDArray[np.uint8], xyxy: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Pixels left and right of the box."""
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (round(v) for v in xyxy)
    reach = max(6, (x2 - x1) // 2)
    top, bottom = max(0, y1), min(height, y2)
    sides = [
        picture[top:bottom, max(0, x1 - reach) : max(0, x1)],
        picture[top:bottom, x2 : min(width, x2 + reach)],
    ]
    found = [_hsv(side) for side in sides if side.size]
    return np.concatenate(found) if found else np.zeros((0, 3), np.float32)


def _in_clear_air(picture: NDArray[np.uint8], xyxy: tuple[float, float, float, float]) -> bool:
    """Whether the object has dark parts, as everything has that no haze lies before, and is not lost in the night."""
    x1, y1, x2, y2 = (round(v) for v in xyxy)
    crop = picture[max(0, y1) : y2, max(0, x1) : x2]
    if min(crop.shape[:2], default=0) < 2 * MIN_SIDE:
        return False
    reach = (y2 - y1) // 2
    wide = picture[max(0, y1 - reach) : y2 + reach, max(0, x1 - reach) : x2 + reach]
    lit = np.percentile(wide.max(2), 90) > 255 * 0.25
    return bool(lit and np.percentile(crop.max(2), 5) < 255 * MAX_BLACK)


def _color_of(part: NDArray[np.float32] | None, around: NDArray[np.float32], person: bool) -> tuple[str, str]:
    if part is None:
        return "", ""
    shares = {name: _share(part, name) for name in _HUES}
    best = max(shares, key=lambda name: shares[name])
    others = sum(shares.values()) - shares[best]
    if shares[best] >= _HUES[best][5] + (0.12 if person else 0) and others < 0.12:
        if len(around) and _share(around, best) > 0.25:
            return "", ""  # the light, or the background
        mine = part[_inside(part, best)]
        dark_paint = float(np.median(mine[:, 2])) < 0.38 and best in ("red", "green", "blue")
        return best, "dark" if dark_paint else ""
    saturation, brightness = part[:, 1], part[:, 2]
    if np.percentile(saturation, 70) > 0.22 and np.percentile(brightness, 70) > 0.2:
        return "", ""
    dark, middle, light = (float(v) for v in np.percentile(brightness, [20, 50, 80]))
    beside = float(np.median(around[:, 2])) if len(around) else 0.5
    if light < (0.17 if person else 0.2) and beside > 0.33:
        return "black", ""
    if middle > 0.70 and (dark > 0.5 or not person) and beside < middle - 0.08:
        return "white", ""
    return "", ""


def _inside(pixels: NDArray[np.float32], name: str) -> NDArray[np.bool_]:
    low, high, saturation, darkest, brightest, _ = _HUES[name]
    hue = pixels[:, 0]
    near = (hue >= low) & (hue <= high) if low < high else (hue >= low) | (hue <= high)
    return near & (pixels[:, 1] >= saturation) & (pixels[:, 2] >= darkest) & (pixels[:, 2] <= brightest)


def _share(pixels: NDArray[np.float32], name: str) -> float:
    return float(_inside(pixels, name).mean()) if len(pixels) else 0.0
