"""Makers of people: pedestrians and riders, their clothes and how to paint them."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import people
from .item import Item, Picker, finished
from .palette import sample_color
from .sprite import Sprite, Style

CLOTHES = (
    "red",
    "blue",
    "white",
    "black",
    "gray",
    "yellow",
    "green",
    "orange",
    "pink",
    "purple",
    "brown",
    "beige",
)


TROUSERS = ("blue", "black", "gray", "white", "brown", "beige", "red", "green")


def make_person(rng: np.random.Generator, pick: Picker) -> Item:
    """A pedestrian, whose color is that of the upper garment."""
    attributes = {
        "pose": str(rng.choice(["standing", "walking"])),
        "upper": str(rng.choice(["jacket", "shirt", "coat", "sweater", "top"])),
    }
    color, shade, look = _clothes(rng, pick, attributes)
    child = rng.random() < 0.12
    tall = rng.uniform(1.05, 1.3) if child else rng.uniform(1.6, 1.9)
    if child:
        attributes["age"] = "child"
    look |= {
        "pose": attributes["pose"],
        "coat": attributes["upper"] == "coat",
        "long_hair": rng.random() < 0.45,
        "stripe": rng.random() < 0.1,
    }
    look["lower"] = str(rng.choice(["trousers", "trousers", "trousers", "shorts", "skirt"]))
    attributes["lower"] = look["lower"]
    hats = ("red", "blue", "yellow", "white", "black", "green", "orange")
    attributes["gender"] = (
        "child" if child else "woman" if look["long_hair"] or look["lower"] == "skirt" else "man"
    )
    if rng.random() < 0.35:
        attributes["hat"], s = pick(rng, hats)
        look["hat"] = sample_color(rng, attributes["hat"], s)
        attributes["hat_kind"] = str(rng.choice(["hat", "cap", "helmet"]))
    if rng.random() < 0.35:
        attributes["bag"], s = pick(rng, ("red", "blue", "yellow", "black", "green", "brown", "orange"))
        look["bag"], look["bag_kind"] = (
            sample_color(rng, attributes["bag"], s),
            str(rng.choice(["bag", "backpack"])),
        )
        attributes["bag_kind"] = look["bag_kind"]
    room, top = 0.95 * tall / 1.75, tall
    if rng.random() < 0.13:
        attributes["umbrella"], s = pick(
            rng, ("red", "blue", "yellow", "black", "green", "white", "pink", "purple")
        )
        look["umbrella"] = sample_color(rng, attributes["umbrella"], s)
        room, top = 1.45 * tall / 1.75, tall * 1.28

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(room, top + 0.05, ppm)
        people.draw_person(s, look, style, r, tall)
        return finished(s, style, r, flip=r.random() < 0.5)

    return Item("person", room, top + 0.05, draw, color, shade, attributes)


def make_rider(rng: np.random.Generator, pick: Picker, category: str) -> Item:
    """A "cyclist" or a "motorcyclist"; their color is that of the upper garment."""
    view = str(rng.choice(["side", "front", "rear"]))
    attributes = {"view": view}
    color, shade, look = _clothes(rng, pick, attributes)
    frame_color, s0 = pick(rng, ("red", "blue", "green", "black", "white", "yellow", "orange"))
    attributes["ride"] = frame_color
    ride = sample_color(rng, frame_color, s0)
    if category == "motorcyclist" or rng.random() < 0.6:
        attributes["hat"], s1 = pick(rng, ("red", "blue", "white", "black", "yellow"))
        attributes["hat_kind"] = "helmet"
        look["hat"] = sample_color(rng, attributes["hat"], s1)
    side = view == "side"
    w, h = ((2.1 if side else 0.9), 1.72) if category == "motorcyclist" else ((1.75 if side else 0.65), 1.8)

    def draw(ppm: float, style: Style, r: np.random.Generator) -> np.ndarray:
        s = Sprite(w, h, ppm)
        if category == "cyclist":
            people.draw_cyclist(s, look, ride, side, r)
        else:
            people.draw_rider(s, look, ride, view, r)
        return finished(s, style, r, flip=r.random() < 0.5)

    return Item(category, w, h, draw, color, shade, attributes)


def _clothes(
    rng: np.random.Generator, pick: Picker, attributes: dict[str, str]
) -> tuple[str, str, dict[str, Any]]:
    color, shade = pick(rng, CLOTHES)
    low, low_shade = pick(rng, TROUSERS)
    attributes["trousers"] = low
    look: dict[str, Any] = {
        "top": sample_color(rng, color, shade), "bottom": sample_color(rng, low, low_shade),
        "skin": people.SKINS[int(rng.integers(len(people.SKINS)))], "hair": people.HAIRS[int(rng.integers(len(people.HAIRS)))],
    }  # fmt: skip
    return color, shade, look
