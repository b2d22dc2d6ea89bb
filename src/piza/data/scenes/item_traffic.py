"""Makers of vehicles and bikes: size, color, name and how to paint them."""

from __future__ import annotations

import cv2
import numpy as np

from . import vehicles
from .item import Item, Picker, finished, worn
from .palette import Rgb, darker, sample_color
from .sprite import Sprite, Style

CAR_COLORS = (
    "red",
    "blue",
    "white",
    "black",
    "gray",
    "silver",
    "yellow",
    "green",
    "orange",
    "brown",
    "beige",
)


def make_vehicle(rng: np.random.Generator, pick: Picker, category: str, view: str) -> Item:
    """A "car", "van", "truck" or "bus" seen from the "front", "rear" or "side"; often turned a little."""
    color, shade = pick(rng, CAR_COLORS)
    if category in ("van", "truck", "bus") and rng.random() < 0.3:
        color, shade = "white", ""
    paint = sample_color(rng, color, shade)
    body = str(rng.choice(vehicles.BODIES)) if category == "car" else category
    w, h = vehicles.size_of(body, view)
    w, h = w * rng.uniform(0.93, 1.07), h * rng.uniform(0.94, 1.06)
    attributes = {"view": view}
    if category == "car":
        extra = str(rng.choice(["", "", "", "", "", "rack", "taxi"]))
        roof: Rgb | None = None
        attributes |= {"body": body, "extra": extra}
        if rng.random() < 0.1:
            other = "black" if color not in ("black", "gray", "brown") else "white"
            roof, attributes["roof"] = sample_color(rng, other), other
        h *= 1.16 if extra else 1.0

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_car(s, paint, body, side, extra, roof, style, r)
    elif category == "truck":
        kind = str(rng.choice(["box", "box", "tank", "dump"]))
        cab_color, cab_shade = pick(
            rng, ("red", "blue", "white", "black", "yellow", "green", "orange", "gray")
        )
        if rng.random() < 0.5:
            cab_color, cab_shade = color, shade
        attributes["truck"] = kind
        cab = sample_color(rng, cab_color, cab_shade) if cab_color != color else paint
        if cab_color != color and view != "rear":
            attributes["cab"] = cab_color
        if view == "front" and cab_color != color:  # the cab is what one sees
            del attributes["cab"]
            attributes["load"], color, shade = color, cab_color, cab_shade

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_truck(s, paint, cab, side, kind, style, r)
    elif category == "van":

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_van(s, paint, side, style, r)
    else:

        def show(s: Sprite, side: str, style: Style, r: np.random.Generator) -> None:
            vehicles.draw_bus(s, paint, side, style, r)

    length = vehicles.SIZES[body][0]
    turn = rng.uniform(0.08, 0.32) if view != "side" and rng.random() < 0.6 else 0.0
    gain = rng.uniform(0.75, 1.08)

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        show(s, view, style, r)
        out = s.finish(style, r)
        if turn:
            flank = Sprite(length, h, ppm)
            show(flank, "side", style, r)
            out = _turned(
                out,
                flank.finish(style, r),
                turn * length * ppm,
                view == "front",
                paint if category == "car" else None,
            )
        if r.random() < 0.5:
            out = np.ascontiguousarray(out[:, ::-1])
        return worn(out, gain, 0.0)

    return Item(category, w + turn * length, h, draw, color, shade, attributes)


def _turned(end: np.ndarray, flank: np.ndarray, depth_px: float, front: bool, fill: Rgb | None) -> np.ndarray:
    """A vehicle's front or rear with its flank, seen at a slant, to the right of it; `fill` closes a car's cabin."""
    if front:
        flank = flank[:, ::-1]
    h, w = end.shape[:2]
    lap = int(0.16 * w)
    d = max(3, int(depth_px)) + lap
    flank = cv2.resize(np.ascontiguousarray(flank), (d, h), interpolation=cv2.INTER_AREA)
    far = np.array([(0, 0), (d, 0.06 * h), (d, 0.93 * h), (0, h)], np.float32)
    flat = np.array([(0, 0), (d, 0), (d, h), (0, h)], np.float32)
    flank = cv2.warpPerspective(flank, cv2.getPerspectiveTransform(flat, far), (d, h), flags=cv2.INTER_LINEAR)
    rgb = np.ascontiguousarray(flank[..., :3])
    flank[..., :3] = cv2.convertScaleAbs(rgb, alpha=0.86)
    out = np.zeros((h, w - lap + d, 4), np.uint8)
    out[:, w - lap :] = flank
    if fill:
        shape = [
            (0.7 * w, 0.06 * h),
            (w - lap + 0.38 * d, 0.08 * h),
            (w - lap + 0.3 * d, 0.5 * h),
            (0.8 * w, 0.5 * h),
        ]
        cv2.fillPoly(out, [np.array(shape, np.int32)], (*darker(fill, 0.18), 255), cv2.LINE_AA)
        pane = [
            (0.92 * w, 0.14 * h),
            (w - lap + 0.34 * d, 0.15 * h),
            (w - lap + 0.3 * d, 0.38 * h),
            (0.98 * w, 0.38 * h),
        ]
        cv2.fillPoly(out, [np.array(pane, np.int32)], (52, 60, 68, 255), cv2.LINE_AA)
    roi = out[:, :w]
    keep = cv2.bitwise_not(np.ascontiguousarray(end[..., 3]))
    roi[:] = cv2.add(cv2.multiply(roi, cv2.merge([keep, keep, keep, keep]), scale=1 / 255), end)
    return out


def make_bike(rng: np.random.Generator, pick: Picker, category: str) -> Item:
    """A parked "bicycle" or "motorcycle"."""
    view = "side" if rng.random() < 0.75 else "rear"
    color, shade = pick(rng, ("red", "blue", "green", "black", "white", "yellow", "orange"))
    paint = sample_color(rng, color, shade)
    length, width, h = vehicles.SIZES[category]
    w = length if view == "side" else width

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        if category == "bicycle":
            vehicles.draw_bicycle(s, paint, view == "side", r)
        else:
            vehicles.draw_motorcycle(s, paint, view == "side", True, r)
        return finished(s, style, r, flip=r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, {"view": view})
