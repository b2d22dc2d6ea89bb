"""What a sentence of SOREC says its own target is, in the words of a first look ("category=car", "color=red").

Read off the head of the sentence alone, which ends where the sentence begins to say where the target is or what is around
it. Rules, not a parser: SOREC's sentences are alike enough (2,361 words in 20,712 sentences).
"""

import re

_COLORS = {
    "red": "red", "maroon": "red", "reddish": "red", "crimson": "red", "orange": "orange", "yellow": "yellow",
    "golden": "yellow", "gold": "yellow", "yellowish": "yellow", "green": "green", "greenish": "green", "teal": "green",
    "olive": "green", "blue": "blue", "bluish": "blue", "turquoise": "blue", "navy": "blue", "purple": "purple",
    "violet": "purple", "pink": "pink", "brown": "brown", "brownish": "brown", "tan": "beige", "beige": "beige",
    "cream": "beige", "white": "white", "whitish": "white", "silver": "silver", "metallic": "silver", "gray": "gray",
    "grey": "gray", "grayish": "gray", "black": "black",
}  # fmt: skip
# Longest first: "traffic light" before "light".
_NOUNS = {
    "pedestrian traffic light": "pedestrian light", "pedestrian traffic signal": "pedestrian light",
    "pedestrian crossing signal": "pedestrian light", "pedestrian crossing light": "pedestrian light",
    "pedestrian signal": "pedestrian light", "pedestrian light": "pedestrian light", "walk signal": "pedestrian light",
    "crosswalk signal": "pedestrian light", "traffic light": "traffic light", "traffic signal": "traffic light",
    "stoplight": "traffic light", "signal": "traffic light", "street light": "lamp", "streetlight": "lamp",
    "street lamp": "lamp", "lamp": "lamp", "lantern": "lamp", "light fixture": "lamp",
    "no entry sign": "sign", "traffic sign": "sign", "street sign": "sign", "road sign": "sign", "sign": "sign",
    "signboard": "sign", "billboard": "sign", "banner": "banner", "plaque": "sign", "poster": "banner",
    "traffic cone": "cone", "cone": "cone", "fire hydrant": "hydrant", "hydrant": "hydrant", "trash can": "bin",
    "trash bin": "bin", "garbage bin": "bin", "bin": "bin", "mailbox": "mailbox", "bollard": "bollard",
    "barrier": "barrier", "barricade": "barrier", "barrel": "barrel", "bench": "bench", "flag": "flag", "balloon": "balloon",
    "surveillance camera": "camera", "security camera": "camera", "camera": "camera", "parking meter": "device",
    "device": "device", "statue": "statue", "sculpture": "statue", "window": "window", "box": "box", "pole": "pole",
    "post": "pole", "signpost": "pole", "motorcyclist": "motorcyclist", "cyclist": "cyclist", "pedestrian": "person",
    "person": "person", "individual": "person", "man": "person", "woman": "person", "child": "person", "figure": "person",
    "boy": "person", "girl": "person", "silhouette": "person", "rider": "motorcyclist", "worker": "person",
    "police car": "car", "sedan": "car", "taxi": "car", "suv": "car", "car": "car", "minivan": "van", "van": "van",
    "pickup truck": "truck", "truck": "truck", "lorry": "truck", "trailer": "truck", "bus": "bus", "tram": "bus",
    "auto-rickshaw": "vehicle", "rickshaw": "vehicle", "vehicle": "vehicle", "motorcycle": "motorcycle",
    "motorbike": "motorcycle", "scooter": "scooter", "bicycle": "bicycle", "bike": "bicycle", "bird": "animal",
    "dog": "animal", "cat": "animal", "animal": "animal", "tree": "tree", "bush": "hedge",
    "planter": "planter", "pot": "planter", "umbrella": "stall",
}  # fmt: skip
_NOUN = re.compile(
    r"\b(" + "|".join(re.escape(noun) for noun in sorted(_NOUNS, key=lambda noun: -len(noun))) + r")s?\b"
)
_SHAPES = {
    "round": "round", "circular": "round", "circle": "round", "oval": "round", "triangular": "triangle", "triangle": "triangle",
    "inverted": "inverted", "rectangular": "rectangle", "rectangle": "rectangle", "square": "square", "diamond": "diamond",
    "octagonal": "octagon", "hexagonal": "octagon", "octagon": "octagon",
}  # fmt: skip
_CONTENT = (
    ("arrow", r"\barrows?\b"), ("hand", r"\bhand\b"), ("number", r"\bnumbers?\b|\d"),
    ("figure", r"\b(figures?|silhouettes?|walking person|pedestrians?|bicycle|car|truck|child|children)\b"),
    ("text", r"\b(text|word|words|letters?|lettering|reads?|writing|inscription|characters?)\b|\""),
    ("symbol", r"\b(symbol|icon|logo|emblem|line|bar|stripe|cross)\b"),
)  # fmt: skip
_UPPER = r"shirt|t-shirt|top|jacket|coat|sweater|hoodie|vest|blouse|outfit|clothing|clothes|uniform|dress|suit|garment|attire"
_LOWER = r"pants|trousers|jeans|shorts|skirt|leggings"
_HAT, _BAG = r"hat|cap|helmet", r"bag|backpack|handbag|purse|suitcase"
_GARMENTS = {"shirt": "shirt", "t-shirt": "shirt", "top": "top", "jacket": "jacket", "coat": "coat", "sweater": "sweater",
             "hoodie": "hoodie", "vest": "vest", "dress": "dress", "outfit": "outfit", "clothing": "outfit"}  # fmt: skip
# Where a sentence begins to say where its target is, or what is around it.
_PLACE = re.compile(
    r"\b(positioned|situated|located|mounted|attached|placed|hanging|hung|suspended|fixed|affixed|installed|perched|nestled|"
    r"near|next to|beside|adjacent|alongside|behind|between|above|below|beneath|under|underneath|over|against|among|amongst|"
    r"amidst|amid|in front of|ahead|in the|in a (?:row|line|parking|busy|crowd|group)|on (?:the|a|top)|at the|at an|"
    r"to (?:the|its)|towards?|along|across|around|surrounded|partially|partly|slightly|obscured|visible|just|directly|"
    r"closest|close to|from|by the|within|inside|outside|beyond|set|standing|parked|driving|traveling|moving|walking|"
    r"sitting|crossing|stopped|facing|appears?|stands?|hangs?|part of|side of|connected|protruding|extending|leaning)\b"
)
_VEHICLES = ("car", "van", "truck", "bus")
_PEOPLE = ("person", "cyclist", "motorcyclist")


def head_of(sentence: str) -> str:
    """The part of a sentence that says what its target is, in lower case."""
    text = re.sub(
        r"^(the|this|an?) (object|item|thing)( in question)? (is|appears to be|consists of)\s+",
        "",
        sentence.lower(),
    )
    match = _PLACE.search(text)
    head = text[: match.start()] if match else text
    # "A small dark object" alone says little; what follows "with" or "that" may still be its description.
    return re.sub(r"\s+(and|is|are|which|that|who|with|,)*\s*$", "", head.strip(" ,."))


def target_words(sentence: str) -> list[str]:
    """What the head of a sentence says of its target, in words of a first look; those it says nothing about are absent."""
    text = re.sub(
        r"^(the|this|an?) (object|item|thing)( in question)? (is|appears to be|consists of)\s+",
        "",
        sentence.lower(),
    )
    head = head_of(sentence)
    words: list[str] = []
    match = _NOUN.search(head)
    category = _NOUNS[match[1]] if match else ""
    if category == "traffic light" and re.search(r"\b(hand|walking|figure|pedestrian)\b", head):
        category = "pedestrian light"
    if category:
        words.append(f"category={category}")
    if category in _VEHICLES:
        words.append("category=vehicle")
    if category in _PEOPLE:
        words += _clothing(head)
        words += _gender(match[1] if match else "")
    elif category in ("traffic light", "pedestrian light"):
        words += _light(head, text)
    else:
        words += _colors(_before_with(head) if category in (*_VEHICLES, "vehicle") else head)
        words += [f"shape={shape}" for word, shape in _SHAPES.items() if re.search(rf"\b{word}\b", head)]
        if category in ("sign", "banner", ""):
            words += [f"content={name}" for name, pattern in _CONTENT if re.search(pattern, head)]
    if re.search(r"\b(headlights?|lights) (on|illuminated|lit)\b|illuminated (head)?lights", head):
        words.append("lights=on")
    pose = re.search(r"\b(walking|standing|sitting|riding|crossing)\b", text[: len(head) + 40])
    if category in _PEOPLE and pose:
        words.append({"crossing": "pose=walking"}.get(pose[1], f"pose={pose[1]}"))
    return list(dict.fromkeys(words))


def _before_with(head: str) -> str:
    return re.split(r"\bwith\b|,? which\b|\bhas\b", head)[0] or head


def _colors(head: str) -> list[str]:
    words = [f"color={_COLORS[word]}" for word in re.findall(r"[a-z]+", head) if word in _COLORS]
    words += [f"tone={tone}" for tone in ("dark", "light") if re.search(rf"\b{tone}[- ]colored\b", head)]
    words += [
        f"shade={shade}"
        for shade in ("dark", "light")
        if re.search(rf"\b{shade} ({'|'.join(_COLORS)})\b", head)
    ]
    return words


def _gender(noun: str) -> list[str]:
    gender = {"man": "man", "woman": "woman", "child": "child", "boy": "child", "girl": "child"}.get(noun)
    return [f"gender={gender}"] if gender else []


def _clothing(head: str) -> list[str]:
    words: list[str] = []
    color = "|".join(_COLORS)
    for name, garments in (("color", _UPPER), ("trousers", _LOWER), ("hat", _HAT), ("bag", _BAG)):
        found = re.search(
            rf"\b({color})(?:[ ,-]+(?:and|\w+-?colored|long|short|sleeved|\w+))?[ -]+({garments})\b", head
        )
        if found:
            words.append(f"{name}={_COLORS[found[1]]}")
        worn = re.search(rf"\b({garments})\b", head)
        if worn and name == "color" and worn[1] in _GARMENTS:
            words.append(f"upper={_GARMENTS[worn[1]]}")
        if worn and name == "bag":
            words.append("bag_kind=backpack" if worn[1] == "backpack" else "bag_kind=bag")
        if worn and name == "hat":
            words.append(f"hat_kind={worn[1]}")
    if not any(word.startswith("color=") for word in words):
        bare = re.search(rf"\b(?:in|wearing|dressed in)(?: all)? ({color})\b", head)
        words += [f"color={_COLORS[bare[1]]}"] if bare else []
    words += [f"tone={tone}" for tone in ("dark", "light") if re.search(rf"\b{tone}(-colored)?\b", head)]
    if re.search(r"\b(skirt|dress)\b", head):
        words.append("lower=skirt")
    elif re.search(r"\bshorts\b", head):
        words.append("lower=shorts")
    return words


def _light(head: str, text: str) -> list[str]:
    """State and arrow of a light: the color after "displaying", "illuminated", or before "light", "signal", "hand"."""
    nearby = text[: len(head) + 1]
    color = r"(red|green|yellow|amber|orange|white)"
    found = re.search(
        rf"(?:displaying|showing|shows|displays|illuminated|lit|with)(?: an?| in| up| the)*(?: \w+)? {color}\b"
        rf"|{color} (?:light|signal|arrow|hand|figure|lamp|traffic|pedestrian|walking|illuminated|bulb)"
        rf"|(?:is|currently|its?|the) {color}\b",
        nearby,
    )  # fmt: skip
    words: list[str] = []
    if found:
        state = next(group for group in found.groups() if group)
        state = {"yellow": "amber", "orange": "amber"}.get(state, state)
        words.append("state=green" if state == "white" and "figure" in head else f"state={state}")
    if re.search(r"\b(off|unlit|not illuminated)\b", head):
        words.append("state=off")
    for arrow in ("left", "right"):
        if re.search(rf"{arrow}[- ](turn|arrow)|arrow pointing (to the )?{arrow}", nearby):
            words.append(f"arrow={arrow}")
    if re.search(r"\bcountdown|digital|digits\b", head):
        words.append("countdown=yes")
    housing = re.search(r"\b(black|yellow) (?:traffic|housing|pedestrian|signal)", head)
    if housing and "state=" + {"yellow": "amber"}.get(housing[1], "") not in words:
        words.append(f"color={housing[1]}")
    return words
