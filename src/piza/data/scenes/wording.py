"""The words of sentences: phrases for regions, relations and extremes, and how they are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .words import Name


def one_of(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of some options, drawn evenly."""
    return options[int(rng.integers(len(options)))]


def with_article(text: str) -> str:
    """A noun phrase with "a" or "an" before it."""
    first = text.split(maxsplit=1)[0].lower()
    return (
        "an " if (first[0] in "aeiou" and not first.startswith(("one", "uni"))) or first == "suv" else "a "
    ) + text


REGIONS = {
    "left": ("on the left side of the scene", "on the left", "on the left-hand side", "on the left side of the picture", "in the left part of the image", "towards the left of the scene"),
    "right": ("on the right side of the scene", "on the right", "on the right-hand side", "on the right side of the image", "in the right part of the picture", "towards the right of the scene"),
    "middle": ("in the middle of the scene", "in the middle", "around the center of the photo", "near the center of the picture", "in the central part of the image"),
    "top": ("in the upper part of the scene", "at the top of the photo", "near the top of the picture", "high up in the image"),
    "bottom": ("in the lower part of the scene", "at the bottom of the photo", "near the bottom of the image", "in the foreground at the bottom of the picture"),
    "far left": ("at the far left of the scene", "close to the left edge of the picture", "on the far left", "on the far left side", "near the left border of the photo"),
    "far right": ("at the far right of the scene", "close to the right edge of the picture", "on the far right", "on the far right side", "near the right border of the photo"),
    "left half": ("in the left half of the image",), "right half": ("in the right half of the image",),
    "upper left": ("in the upper left of the scene", "in the top left part of the image"),
    "upper right": ("in the upper right of the scene", "in the top right part of the image"),
    "lower left": ("in the lower left of the scene", "in the bottom left part of the picture"),
    "lower right": ("in the lower right of the scene", "in the bottom right part of the picture"),
}  # fmt: skip


RELATIONS = {
    "left": ("to the left of {}", "on the left of {}", "left of {}", "with {} somewhere to its right", "with {} to its right"),
    "right": ("to the right of {}", "on the right of {}", "right of {}", "with {} somewhere to its left", "with {} to its left"),
    "just left": ("just to the left of {}", "immediately left of {}", "directly to the left of {}", "with {} right beside it on its right"),
    "just right": ("just to the right of {}", "immediately right of {}", "directly to the right of {}", "with {} right beside it on its left"),
    "near": ("next to {}", "next to {}", "beside {}", "close to {}", "near {}", "adjacent to {}", "right by {}", "alongside {}"),
    "above": ("above {}", "over {}", "higher up than {} and right over it", "with {} below it"),
    "hanging over": ("hanging over {}", "hanging above {}", "above {}", "over {}"),
    "below": ("below {}", "beneath {}", "underneath {}", "under {}", "with {} above it"),
    "mounted above": ("mounted above {}", "attached to the pole above {}", "directly above {}", "on the same pole above {}", "fixed just above {}"),
    "mounted below": ("mounted below {}", "attached to the pole below {}", "directly under {}", "on the same pole below {}", "hanging just below {}"),
    "in front of": ("in front of {}", "partly in front of {}", "ahead of {} from the camera's point of view", "with {} behind it", "directly in front of {}"),
    "behind": ("behind {}", "just behind {}", "directly behind {}", "with {} in front of it"),
    "hidden by": ("partially hidden by {}", "partly hidden behind {}", "partially obscured by {}", "partially blocked by {}", "partly covered by {}"),
}  # fmt: skip


EXTREMES = {
    "leftmost": ("leftmost {}", "{} on the far left", "{} farthest to the left", "{} furthest left"),
    "rightmost": ("rightmost {}", "{} on the far right", "{} farthest to the right", "{} furthest right"),
    "highest": ("highest {}", "{} that is highest up", "{} at the very top", "uppermost {}", "topmost {}"),
    "lowest": ("lowest {}", "{} lowest in the picture"),
    "nearest": ("nearest {}", "{} closest to the camera", "{} closest to us", "{} that is closest to the camera", "{} nearest to the viewer", "closest {}"),
    "farthest": ("farthest {}", "{} that is farthest away", "{} farthest in the distance", "{} farthest from the camera", "most distant {}", "{} furthest away"),
    "largest": ("largest {}", "biggest {}", "{} that appears largest"),
    "smallest": ("smallest {}", "{} that appears smallest", "{} that looks tiniest"),
}  # fmt: skip


ORDINALS = ("", "first", "second", "third", "fourth", "fifth")


VERBS = ("located", "positioned", "situated", "standing", "visible", "placed", "found")


MOVERS = ("located", "positioned", "situated", "visible", "seen")


def sentence_of(rng: np.random.Generator, n: Name, mods: list[str], category: str) -> str:
    """Put a name and its modifiers into one sentence."""
    t = n.text
    unique_kind = any(c[0] in ("most", "nth", "pair", "closest") for c in n.claims)
    ordinal = mods and (mods[0].startswith("from the") or mods[0].startswith("counting from"))
    if ordinal:
        t, mods = f"{t} {mods[0]}", mods[1:]
    verb = one_of(rng, MOVERS if n.person or category in ("car", "van", "truck", "bus") else VERBS)
    if verb == "standing" and category in ("balloon", "flag"):
        verb = "visible"
    joined = joined_modifiers(rng, mods)
    the = f"the {t}"
    roll = rng.random()
    if not mods:
        shapes = (f"{the}", f"{the}", f"find {the}", f"locate {the} in this picture", f"the object is {the if unique_kind else with_article(t)}",
                  f"{the} in the scene", f"look for {the}", f"you can see {the if unique_kind else with_article(t)}", f"point to {the} in the image")  # fmt: skip
        out = one_of(rng, shapes)
    elif roll < 0.30:
        out = f"{the}{glued(joined)}"
    elif roll < 0.58:
        out = f"{the} is {predicate_of(verb, joined)}"
    elif roll < 0.70:
        out = f"the object is {the if unique_kind else with_article(t)}{glued(joined)}"
    elif roll < 0.80:
        out = f"{one_of(rng, ('find', 'locate', 'look for', 'point to', 'show me', 'this is'))} {the}{glued(joined)}"
    elif roll < 0.86 and not unique_kind:
        out = f"{one_of(rng, ('there is', 'you can see', 'one can see'))} {with_article(t)}{glued(joined)}"
    elif roll < 0.93:
        first, rest = mods[0], mods[1:]
        link = f"{the}" if unique_kind or rng.random() < 0.5 else f"there is {with_article(t)}"
        out = f"{first}, {link}" if not rest else f"{first}, {link}{glued(joined_modifiers(rng, rest))}"
        if first.startswith(("with ", "mounted", "fixed", "hanging", "flanked", "higher", "ahead", "partly")):
            out = f"{the}{glued(joined)}"
    else:
        who = "who" if n.person else "which"
        out = f"{the}, {who} is {predicate_of(verb, joined)}"
    return f"{out[0].upper()}{out[1:]}."


def joined_modifiers(rng: np.random.Generator, mods: list[str]) -> str:
    """Several modifiers as one phrase."""
    if len(mods) < 2:
        return mods[0] if mods else ""
    return mods[0] + "".join(
        one_of(rng, (", ", " and ", ", ") if not m.startswith("with") else (", ",)) + m for m in mods[1:]
    )


def glued(joined: str) -> str:
    """What joins a noun to the phrase that follows it, and the phrase."""
    return (
        ", "
        if joined.startswith(("mounted", "with ", "flanked", "fixed", "hanging", "higher", "attached"))
        else " "
    ) + joined


def predicate_of(verb: str, joined: str) -> str:
    """A modifier as the predicate of a sentence."""
    if joined.startswith(("mounted", "flanked", "fixed", "hanging", "attached", "partially", "partly")):
        return joined
    if joined.startswith("with "):
        return "shown " + joined
    return f"{verb} {joined}"
