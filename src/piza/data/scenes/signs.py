"""Traffic signs: their kinds, and the ways to name them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SignKind:
    """`names` fit this kind only; what is shared with other kinds is said by shape, family and colors."""

    shape: str  # round, triangle, inverted, octagon, diamond, square, board, plate
    family: str
    colors: tuple[str, ...]  # first: the one the eye names; all: what may be said
    names: tuple[str, ...]
    width: float = 0.7  # meters
    height: float = 0.7
    weight: float = 1.0


SPEEDS = (20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 130)
KINDS: dict[str, SignKind] = {}

for _n in SPEEDS:
    KINDS[f"speed_{_n}"] = SignKind(
        "round", "speed limit", ("red", "white"),
        (f"round sign with a red border and the number {_n}", f"speed limit sign showing {_n}", f"speed limit {_n} sign",
         f"white and red circular sign that reads {_n}", f"circular sign with the number {_n} inside a red ring"), weight=1.1,
    )  # fmt: skip
for _n in (30, 60, 80, 100):
    KINDS[f"end_{_n}"] = SignKind(
        "round", "end of restriction", ("white", "black"),
        (f"end of speed limit {_n} sign", f"white circular sign with the number {_n} crossed out by diagonal lines",
         f"white disc with a crossed-out {_n}"), weight=0.4,
    )  # fmt: skip
_RED_ROUND = {
    "no_overtaking": ("no overtaking sign", "round sign with a red border showing a red car beside a black car",
                      "circular red and white sign with a red car beside a black car", "round sign with two cars side by side"),
    "no_overtaking_trucks": ("no overtaking for trucks sign", "round sign with a red border showing a red truck beside a black car",
                             "circular red and white sign with a red truck beside a black car"),
    "no_trucks": ("no trucks sign", "circular red and white sign with a black truck", "round sign with a red border showing a black truck"),
    "no_vehicles": ("no vehicles sign", "empty white circle with a red border", "round white sign with a red ring and nothing inside"),
    "no_bicycles": ("no bicycles sign", "round sign with a red border showing a black bicycle"),
    "no_pedestrians": ("no pedestrians sign", "round sign with a red border showing a walking figure"),
}  # fmt: skip
for _k, _names in _RED_ROUND.items():
    KINDS[_k] = SignKind("round", "prohibition", ("red", "white"), _names)
KINDS["no_entry"] = SignKind("round", "no entry", ("red", "white"), ("no entry sign", "red circle with a white horizontal bar",
    "red round sign with a white bar across it", "red disc with a white stripe"), weight=2.0)  # fmt: skip
KINDS["no_stopping"] = SignKind(
    "round",
    "no stopping",
    ("blue", "red"),
    ("no stopping sign", "blue circle with a red border and a red cross"),
)
KINDS["no_parking"] = SignKind(
    "round",
    "no parking",
    ("blue", "red"),
    ("no parking sign", "blue circle with a red border and one red slash"),
)
KINDS["end_all"] = SignKind("round", "end of restriction", ("white", "black"), ("plain end of restrictions sign",
    "white circular sign crossed by black diagonal lines", "white disc with diagonal black lines and no picture"), weight=0.8)  # fmt: skip
KINDS["end_overtaking"] = SignKind("round", "end of restriction", ("white", "black"), ("end of no overtaking sign",
    "white circular sign with two cars crossed out by diagonal lines"), weight=0.7)  # fmt: skip
KINDS["end_overtaking_trucks"] = SignKind("round", "end of restriction", ("white", "black"), ("end of no overtaking for trucks sign",
    "white circular sign with a truck and a car crossed out by diagonal lines"), weight=0.6)  # fmt: skip
KINDS["give_way"] = SignKind("inverted", "give way", ("red", "white"), ("give way sign", "upside down white triangle with a red border",
    "give way sign, a red and white triangle pointing down", "yield sign", "inverted triangle with a red border"), 0.9, 0.79, 2.2)  # fmt: skip
KINDS["stop"] = SignKind("octagon", "stop", ("red", "white"), ("stop sign", "red stop sign", "red octagonal sign that reads STOP",
    'red octagon with the word "STOP"'), 0.85, 0.85, 2.0)  # fmt: skip
KINDS["priority_road"] = SignKind("diamond", "priority road", ("yellow", "white"), ("priority road sign", "yellow diamond sign with a white border",
    "priority road sign, a yellow square standing on its corner"), 0.8, 0.8, 2.2)  # fmt: skip
_WARN = {
    "danger": ("an exclamation mark", "general danger"), "bend_right": ("an arrow bending right", "a bend to the right"),
    "bend_left": ("an arrow bending left", "a bend to the left"), "double_bend": ("a winding arrow", "a double bend"),
    "works": ("a worker digging", "road works"), "children": ("two children", "children crossing"),
    "pedestrian": ("a walking person", "a pedestrian crossing"), "snow": ("a snowflake", "ice or snow"),
    "priority_crossing": ("a thick upward arrow crossed by a thin line", "a priority intersection"),
    "bumps": ("two bumps", "an uneven road"), "signals": ("a traffic light", "traffic signals ahead"),
    "slippery": ("a skidding car", "a slippery road"), "cyclists": ("a bicycle", "cyclists crossing"),
    "narrowing": ("two lines getting closer", "a narrowing road"), "deer": ("a jumping deer", "wild animals"),
    "two_way": ("two opposite arrows", "two-way traffic"),
}  # fmt: skip
for _k, (_see, _mean) in _WARN.items():
    KINDS[f"warn_{_k}"] = SignKind("triangle", "warning", ("red", "white"), (f"triangular warning sign with {_see}",
        f"red and white triangle showing {_see}", f"warning sign for {_mean}", f"triangle with a red border and {_see}"), 0.9, 0.79, 0.8)  # fmt: skip
for _k in (
    "danger",
    "bend_right",
    "bend_left",
    "works",
    "pedestrian",
    "signals",
    "two_way",
    "deer",
    "cyclists",
):
    _see = _WARN[_k][0]
    KINDS[f"yellow_{_k}"] = SignKind("diamond", "yellow warning", ("yellow", "black"), (f"yellow diamond-shaped sign with {_see}",
        f"yellow diamond warning sign showing {_see}"), 0.85, 0.85, 0.35)  # fmt: skip
_MUST = {
    "straight": ("a white arrow pointing straight up", "go straight"), "turn_right": ("a white arrow turning right", "turn right"),
    "turn_left": ("a white arrow turning left", "turn left"), "keep_right": ("a white arrow pointing down to the right", "keep right"),
    "keep_left": ("a white arrow pointing down to the left", "keep left"),
    "ahead_or_right": ("white arrows pointing up and right", "go straight or right"),
    "ahead_or_left": ("white arrows pointing up and left", "go straight or left"),
    "roundabout": ("three white arrows forming a circle", "take the roundabout"),
}  # fmt: skip
for _k, (_see, _mean) in _MUST.items():
    KINDS[f"must_{_k}"] = SignKind("round", "mandatory", ("blue", "white"), (f"round blue sign with {_see}",
        f"blue circular traffic sign showing {_see}", f"mandatory sign telling drivers to {_mean}"), weight=1.0)  # fmt: skip
KINDS["must_cycle_path"] = SignKind(
    "round", "path", ("blue", "white"), ("blue circular sign with a white bicycle", "cycle path sign")
)
KINDS["must_foot_path"] = SignKind(
    "round", "path", ("blue", "white"), ("blue circular sign with a white walking figure", "footpath sign")
)
KINDS["parking"] = SignKind("square", "parking", ("blue", "white"), ("parking sign", 'blue square sign with a white letter "P"', "blue parking sign"),
    0.65, 0.65, 1.6)  # fmt: skip
KINDS["crossing"] = SignKind("square", "crossing", ("blue", "white"), ("pedestrian crossing sign",
    "blue square sign with a figure in a white triangle", "blue pedestrian crossing sign"), 0.7, 0.7, 1.6)  # fmt: skip
KINDS["one_way"] = SignKind(
    "plate",
    "one way",
    ("blue", "white"),
    ("one-way sign", "blue rectangular sign with a white arrow"),
    0.9,
    0.4,
    0.8,
)
for _c, _t in (("blue", "white"), ("green", "white"), ("yellow", "black"), ("white", "black")):
    KINDS[f"guide_{_c}"] = SignKind("board", "direction", (_c, _t), (f"{_c} direction sign", f"{_c} guide sign with {_t} text",
        f"large {_c} board with {_t} lettering and an arrow"), 2.0, 1.3, 0.7)  # fmt: skip
for _c, _t in (("blue", "white"), ("green", "white"), ("white", "black")):
    KINDS[f"street_{_c}"] = SignKind("plate", "street name", (_c, _t), (f"{_c} street name sign", f"{_c} street name plate with {_t} letters"),
        0.95, 0.26, 0.5)  # fmt: skip

KINDS["plate_white"] = SignKind("plate", "supplementary", ("white", "black"), ("small white rectangular plate with black text",
    "small white supplementary sign", "white plate with black letters"), 0.6, 0.33, 0.6)  # fmt: skip

# Families that belong to the red-ringed round signs when only the ring is spoken of.
RED_RING = {"speed limit", "prohibition"}


def kind_weights() -> tuple[list[str], np.ndarray]:
    """The kinds of signs, and how often each is drawn (they sum to 1)."""
    names = list(KINDS)
    p = np.array([KINDS[n].weight for n in names])
    return names, p / p.sum()
