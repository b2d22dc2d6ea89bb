"""Naming one object: noun phrases with the clauses they claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .meaning import UNKNOWN
from .objects import Clause, SceneObject
from .signs import KINDS


@dataclass(frozen=True)
class Name:
    """A noun phrase without its article, and what it claims. `plural` is "" where none reads well."""

    text: str
    claims: tuple[Clause, ...]
    plural: str = ""
    person: bool = False


# category -> synonyms (singular, plural) that claim the noun of the category itself
_SYNONYMS: dict[str, tuple[tuple[str, str], ...]] = {
    "car": (("car", "cars"), ("car", "cars"), ("car", "cars"), ("car", "cars"), ("automobile", "automobiles"), ("passenger car", "passenger cars")),
    "van": (("van", "vans"), ("delivery van", "delivery vans")), "vehicle": (("vehicle", "vehicles"), ("vehicle", "vehicles"), ("vehicle", "vehicles"), ("motor vehicle", "motor vehicles")),
    "truck": (("truck", "trucks"), ("lorry", "lorries")),
    "bus": (("bus", "buses"),),
    "motorcycle": (("motorcycle", "motorcycles"), ("motorbike", "motorbikes")),
    "bicycle": (("bicycle", "bicycles"), ("bike", "bikes")),
    "cyclist": (("cyclist", "cyclists"), ("bike rider", "bike riders"), ("person riding a bicycle", "")),
    "motorcyclist": (("motorcyclist", "motorcyclists"), ("motorcycle rider", "motorcycle riders"), ("person riding a motorcycle", "")),
    "person": (("person", "people"), ("person", "people"), ("pedestrian", "pedestrians"), ("individual", "individuals"), ("figure", "figures")),
    "traffic light": (("traffic light", "traffic lights"), ("traffic light", "traffic lights"), ("traffic signal", "traffic signals"), ("stoplight", "stoplights")),
    "pedestrian light": (("pedestrian light", "pedestrian lights"), ("pedestrian signal", "pedestrian signals")),
    "sign": (("sign", "signs"), ("traffic sign", "traffic signs"), ("road sign", "road signs")),
    "countdown timer": (("countdown timer", "countdown timers"), ("countdown display", "countdown displays")),
    "pole": (("pole", "poles"), ("post", "posts")),
    "cone": (("cone", "cones"), ("traffic cone", "traffic cones")),
    "barrel": (("barrel", "barrels"), ("traffic barrel", "traffic barrels"), ("drum", "drums")),
    "barrier": (("barrier", "barriers"), ("barricade", "barricades")),
    "bollard": (("bollard", "bollards"), ("short post", "short posts")),
    "hydrant": (("fire hydrant", "fire hydrants"), ("hydrant", "hydrants")),
    "mailbox": (("mailbox", "mailboxes"), ("post box", "post boxes")),
    "bin": (("trash bin", "trash bins"), ("garbage bin", "garbage bins"), ("trash can", "trash cans"), ("waste bin", "waste bins")),
    "bench": (("bench", "benches"),),
    "planter": (("planter", "planters"), ("plant pot", "plant pots")),
    "flag": (("flag", "flags"),), "balloon": (("balloon", "balloons"),),
    "stall": (("market stall", "market stalls"), ("stall", "stalls")),
    "dog": (("dog", "dogs"),),
    "lamp": (("street lamp", "street lamps"), ("streetlight", "streetlights"), ("lamp post", "lamp posts")),
    "tree": (("tree", "trees"),), "hedge": (("hedge", "hedges"), ("bush", "bushes")),
}  # fmt: skip
_PEOPLE = ("person", "cyclist", "motorcyclist")


def _one(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _noun(o: SceneObject, rng: np.random.Generator) -> tuple[str, str, Clause]:
    if o.category in ("car", "van", "truck", "bus") and rng.random() < 0.15:
        return "vehicle", "vehicles", ("noun", "vehicle")
    if o.category == "car" and "body" in o.attributes and rng.random() < 0.18:
        b = o.attributes["body"]
        word = {"suv": "SUV", "wagon": "station wagon"}.get(b, b)
        return word, word + "s", ("body", b)
    if o.category == "person" and "gender" in o.attributes and rng.random() < 0.22:
        g = o.attributes["gender"]
        return g, {"man": "men", "woman": "women", "child": "children"}[g], ("gender", g)
    s, p = _one(rng, _SYNONYMS.get(o.category, ((o.category, ""),)))
    return s, p, ("noun", o.category)


def _color_word(o: SceneObject, rng: np.random.Generator) -> tuple[str, Clause]:
    color, shade = o.color or "", o.shade if rng.random() < 0.8 else ""
    word = "grey" if color == "gray" and rng.random() < 0.35 else color
    if color == "red" and shade == "dark":
        word = _one(rng, ("dark red", "dark red", "maroon"))
    elif shade:
        word = f"{shade} {word}"
    return word, ("color", color, shade)


def _plain_color(c: str, rng: np.random.Generator) -> str:
    return "grey" if c == "gray" and rng.random() < 0.35 else c


def name(o: SceneObject, rng: np.random.Generator, detail: int) -> Name:
    """A name for the object: `detail` 0 the bare noun, 1 with its main attribute, 2 with all that is worth saying."""
    if o.category == "sign":
        return _sign_name(o, rng, detail)
    if o.category in ("traffic light", "pedestrian light", "countdown timer"):
        return _light_name(o, rng, detail)
    noun, plural, claim = _noun(o, rng)
    if detail == 0 or o.color is None:
        return Name(noun, (claim,), plural, o.category in _PEOPLE)
    if o.category in _PEOPLE:
        return _person_name(o, rng, detail, noun, plural, claim)
    word, color = _color_word(o, rng)
    if (
        rng.random() < 0.1
        and (o.shade or o.color in ("black", "white", "silver"))
        and o.category in ("car", "van", "truck", "bus")
    ):
        tone = o.shade or ("dark" if o.color == "black" else "light")
        word, color = f"{tone}-colored", ("tone", tone)
    claims: list[Clause] = [claim, color]
    roll = rng.random()
    if color[0] == "tone":
        roll = 0.2 if roll < 0.5 else roll / 2 + 0.5
    if o.category in ("cone", "barrel", "barrier") and roll < 0.5 and color[0] == "color":
        text, many = (
            _one(
                rng,
                (
                    f"{word} and white {noun}",
                    f"{word} and white striped {noun}",
                    f"{word} {noun} with white stripes",
                ),
            ),
            "",
        )
    elif roll < 0.06:
        text, many = f"{word}-colored {noun}", f"{word}-colored {plural}"
    elif roll < 0.11:
        text, many = f"{noun} that is {word}", ""
    else:
        text, many = f"{word} {noun}", f"{word} {plural}"
    article = "an" if word[0] in "aeiou" else "a"
    if o.category == "stall" and roll > 0.4:
        text, many = f"{noun} with {article} {word} awning", ""
    if detail == 2:
        more = _extras(o, rng)
        if more:
            tail, clause = _one(rng, more)
            return Name(f"{text} {tail}", (*claims, clause), "")
    return Name(text, tuple(claims), many)


def _extras(o: SceneObject, rng: np.random.Generator) -> list[tuple[str, Clause]]:
    out: list[tuple[str, Clause]] = []
    a = o.attributes
    view = a.get("view")
    if view and o.category in ("car", "van", "truck", "bus"):
        said = {
            "rear": (
                "seen from behind",
                "with its red taillights visible",
                "facing away from the camera",
                "driving away from the camera",
            ),
            "front": (
                "facing the camera",
                "seen from the front",
                "with its headlights visible",
                "coming towards the camera",
            ),
            "side": ("seen from the side", "shown in profile", "facing sideways"),
        }[view]
        out.append((_one(rng, said), ("is", "view", view)))
    if a.get("extra") == "rack":
        out.append(
            (_one(rng, ("with luggage on its roof", "carrying a load on the roof")), ("is", "extra", "rack"))
        )
    if a.get("extra") == "taxi":
        out.append(
            (
                _one(rng, ("with a taxi sign on its roof", "with a small yellow sign on the roof")),
                ("is", "extra", "taxi"),
            )
        )
    if "roof" in a:
        out.append((f"with a {a['roof']} roof", ("part", "roof", a["roof"])))
    if "cab" in a:
        out.append((f"with a {_plain_color(a['cab'], rng)} cab", ("part", "cab", a["cab"])))
    return out


def _person_name(
    o: SceneObject, rng: np.random.Generator, detail: int, noun: str, plural: str, claim: Clause
) -> Name:
    word, color = _color_word(o, rng)
    a = o.attributes
    claims: list[Clause] = [claim, color]
    upper = a.get("upper", _one(rng, ("jacket", "shirt", "top")))
    article = "an" if word[0] in "aeiou" else "a"
    joins = ("in", "wearing", "wearing", "dressed in", "with")
    text = f"{noun} {_one(rng, joins)} {article} {word} {upper}"
    if rng.random() < (0.08 if "upper" in a else 0.5):
        text = f"{noun} {_one(rng, ('in', 'dressed in', 'wearing'))} {word}" + _one(
            rng, ("", " clothes", " clothing")
        )
    if detail < 2:
        return Name(text, tuple(claims), "", True)
    parts: list[tuple[str, Clause]] = []
    if "trousers" in a:
        low = _plain_color(a["trousers"], rng)
        kind = {"shorts": "shorts", "skirt": "skirt"}.get(
            a.get("lower", ""), _one(rng, ("pants", "trousers", "pants"))
        )
        parts.append((f"{'a ' if kind == 'skirt' else ''}{low} {kind}", ("part", "trousers", a["trousers"])))
    if "hat" in a:
        parts.append(
            (
                f"a {_plain_color(a['hat'], rng)} {a['hat_kind']}".replace("a orange", "an orange"),
                ("part", "hat", a["hat"]),
            )
        )
    tail = ""
    if parts:
        pick = parts if len(parts) == 1 or rng.random() < 0.4 else [_one(rng, parts)]
        text += "".join(f"{' and' if i == len(pick) - 1 else ','} {t}" for i, (t, _) in enumerate(pick))
        claims += [c for _, c in pick]
    if "bag" in a and rng.random() < 0.5:
        tail = f" carrying a {a['bag']} {a['bag_kind']}".replace("a orange", "an orange")
        claims.append(("part", "bag", a["bag"]))
    elif "umbrella" in a:
        tail = f" {_one(rng, ('holding', 'under', 'carrying'))} a {a['umbrella']} umbrella"
        claims.append(("part", "umbrella", a["umbrella"]))
    elif "ride" in a and rng.random() < 0.5:
        tail = f" on a {_plain_color(a['ride'], rng)} {'bicycle' if o.category == 'cyclist' else 'motorcycle'}".replace(
            "a orange", "an orange"
        )
        claims.append(("part", "ride", a["ride"]))
    return Name(text + tail, tuple(claims), "", True)


def _light_name(o: SceneObject, rng: np.random.Generator, detail: int) -> Name:
    noun, plural, claim = _noun(o, rng)
    state = o.attributes.get("state", UNKNOWN)
    if detail == 0 or state == UNKNOWN:
        return Name(noun, (claim,), plural)
    said = "yellow" if state == "amber" and rng.random() < 0.6 else state
    if o.category == "pedestrian light":
        show = _one(
            rng,
            (f"showing a {said} figure", f"with a {said} figure lit", f"displaying a {said} person symbol"),
        )
    else:
        show = _one(
            rng,
            (
                f"showing {said}",
                f"displaying a {said} signal",
                f"with its {said} lamp lit",
                f"that is currently {said}",
                f"lit {said}",
            ),
        )
        if said == "amber":
            show = show.replace("a amber", "an amber")
    claims: list[Clause] = [claim, ("is", "state", state)]
    arrow = o.attributes.get("arrow")
    if arrow and rng.random() < 0.7:
        way = {"left": "pointing left", "right": "pointing right", "straight": "pointing straight up"}[arrow]
        show = _one(
            rng,
            (f"showing a {said} arrow {way}", f"with a {said} arrow {way}", f"with a {said} {arrow} arrow"),
        )
        claims.append(("is", "arrow", arrow))
    text = f"{said} {noun}" if not arrow and rng.random() < 0.25 else f"{noun} {show}"
    if o.category == "countdown timer":
        text = _one(rng, (f"{noun} showing {said} digits", f"{said} {noun}", f"{noun} with {said} numbers"))
    if detail == 2 and o.color and text.startswith(noun):
        text = f"{_plain_color(o.color, rng)} {text}"
        claims.append(("color", o.color, ""))
    return Name(text, tuple(claims))


_SHAPES = {
    "round": ("round {c} sign", "circular {c} sign", "{c} round sign", "{c} circular traffic sign"),
    "triangle": ("{c} triangular sign", "{c} triangle"), "inverted": ("{c} inverted triangle", "{c} triangle pointing down"),
    "octagon": ("{c} octagonal sign",), "diamond": ("{c} diamond-shaped sign", "{c} diamond sign"),
    "square": ("{c} square sign",), "board": ("large {c} sign", "{c} board"), "plate": ("{c} rectangular sign", "narrow {c} sign"),
}  # fmt: skip
_FAMILY = {
    "speed limit": ("speed limit sign", "speed limit signs"), "warning": ("triangular warning sign", "triangular warning signs"),
    "mandatory": ("mandatory arrow sign", "mandatory arrow signs"), "direction": ("direction sign", "direction signs"),
    "street name": ("street name sign", "street name signs"), "end of restriction": ("end of restriction sign", "end of restriction signs"),
    "yellow warning": ("yellow warning sign", "yellow warning signs"),
}  # fmt: skip


def _plain_sign_name(o: SceneObject, rng: np.random.Generator, detail: int) -> Name:
    """Of a sign whose kind is not known."""
    noun, plural = _one(rng, _SYNONYMS["sign"])
    claim: Clause = ("noun", "sign")
    if detail == 0 or o.color is None:
        return Name(noun, (claim,), plural)
    word, color = _color_word(o, rng)
    return Name(f"{word} {noun}", (claim, color), f"{word} {plural}")


def _sign_name(o: SceneObject, rng: np.random.Generator, detail: int) -> Name:
    kind = o.attributes.get("kind")
    if kind is None:
        return _plain_sign_name(o, rng, detail)
    k = KINDS[kind]
    if detail == 2 or (detail == 1 and rng.random() < 0.5):
        return Name(_one(rng, k.names), (("sign", "kind", kind),))
    if detail == 0 and rng.random() < 0.4:
        s, p = _one(rng, _SYNONYMS["sign"])
        return Name(s, (("noun", "sign"),), p)
    roll = rng.random()
    if k.family in _FAMILY and roll < 0.45:
        s, p = _FAMILY[k.family]
        return Name(s, (("sign", "family", k.family),), p)
    if k.family in ("speed limit", "prohibition") and roll < 0.8:
        t = _one(
            rng, ("round sign with a red border", "circular sign with a red ring", "round red and white sign")
        )
        return Name(t, (("sign", "shape", "round"), ("sign", "ring", "")))
    if detail == 0:
        word = {
            "round": "round sign",
            "triangle": "triangular sign",
            "diamond": "diamond-shaped sign",
            "square": "square sign",
        }.get(k.shape)
        if word:
            return Name(word, (("sign", "shape", k.shape),), word + "s")
    text = _one(rng, _SHAPES[k.shape]).format(c=k.colors[0])
    return Name(text, (("sign", "shape", k.shape), ("sign", "color", k.colors[0])))
