"""Pascal VOC: an .xml file a photo, with <size> and <object>s of <name> and <bndbox> in pixels counted from 1."""

from pathlib import Path
from xml.etree import ElementTree

from piza.data.labels.base import (
    LabeledBox,
    LabeledPhoto,
    bounded_text,
    clipped_box,
    name_of_category,
    name_of_image,
    number,
    photos_in,
    whole,
)
from piza.errors import InputError

_FLAGS = ("pose", "truncated", "difficult", "occluded")


def read(path: Path, images_dir: Path) -> list[LabeledPhoto]:
    """The photos of a folder of VOC files, or of one file."""
    files = sorted(path.glob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{str(path)!r} is no folder of VOC labels: expected .xml files")
    photos = photos_in(images_dir)
    names = {photo.name for photo in photos.values()}
    return [_photo(file, photos, names) for file in files]


def _photo(path: Path, photos: dict[str, Path], names: set[str]) -> LabeledPhoto:
    name = repr(str(path))
    text = bounded_text(path, "a VOC file")
    # Labels declare no types; a declaration could only define entities, which may grow without bound or name files.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(
            f"{name} declares a document type or entities, which VOC labels never do; it is not read"
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid XML: {error}") from None
    if root.tag != "annotation":
        raise InputError(f"{name} is no VOC file: expected <annotation>, got <{root.tag[:40]}>")
    size = root.find("size")
    width, height = (
        whole(_text(size, side, name), f"{name}, field 'size/{side}'") for side in ("width", "height")
    )
    image = root.findtext("filename")
    if path.stem in photos and (image is None or Path(image).name not in names):
        image = photos[path.stem].name  # tools rename photos more often than they mend the labels
    image = name_of_image(image, f"{name}, field 'filename'")
    boxes = []
    for count, element in enumerate(root.iter("object"), start=1):
        where = f"{name}, object {count}"
        category = name_of_category(element.findtext("name"), f"{where}, field 'name'")
        corners = [
            number(_text(element.find("bndbox"), side, where), f"{where}, field 'bndbox/{side}'")
            for side in ("xmin", "ymin", "xmax", "ymax")
        ]
        xyxy = (corners[0] - 1, corners[1] - 1, corners[2], corners[3])  # the last pixel is inside
        extra = {flag: found for flag in _FLAGS if (found := element.findtext(flag)) is not None}
        boxes.append(LabeledBox(clipped_box(xyxy, (width, height), where), category, extra))
    return LabeledPhoto(image, width, height, tuple(boxes))


def _text(element: ElementTree.Element | None, field: str, where: str) -> str:
    found = element.findtext(field) if element is not None else None
    if found is None:
        raise InputError(f"{where}: the field {field!r} is missing")
    return found.strip()
