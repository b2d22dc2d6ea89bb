"""The words for the appearance of an object, drawn or real, as "name=value": what a first look learns to tell."""

from .objects import SceneObject
from .signs import KINDS

_VEHICLES = ("car", "van", "truck", "bus", "vehicle")
_SHAPES = {"plate": "rectangle", "board": "rectangle"}


def attribute_words(o: SceneObject) -> list[str]:
    """The words for an object's appearance: "category=car", "color=red".

    Beside the object's own attributes: category=vehicle of all vehicles, the shape of a sign and all colors of its face.
    """
    shown = {"category": o.category, "color": o.color, "shade": o.shade, **o.attributes}
    words = [f"{name}={value}" for name, value in shown.items() if value and value != "unknown"]
    if o.category in _VEHICLES and o.category != "vehicle":
        words.append("category=vehicle")
    kind = KINDS.get(o.attributes.get("kind", "")) if o.category == "sign" else None
    if kind is not None:
        words.append(f"shape={_SHAPES.get(kind.shape, kind.shape)}")
        words += [f"color={color}" for color in kind.colors if f"color={color}" not in words]
    return words
