"""Pictures kept on a device, and regions cut out of them there: an encoder that learns sees other crops at every step."""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from piza.files import atomic_write
from piza.image import open_image
from piza.model.nanodet import normalized
from piza.search.region_crops import LEAST, SIDE, SURROUNDINGS
from piza.training.from_scratch.frames.cache import FrameCache
from piza.training.from_scratch.lists.cached import FRAME
from piza.training.from_scratch.regions.named import DRAWN

LEVELS = 5  # of a picture: each has half the side of the one before
BLURRED = 0.3  # share of pictures that are read from a coarser level, as if they were out of focus or far


class RegionPixels:
    """Pictures by key: "SOURCE/NAME" of photos, "scenes/NUMBER" of drawn ones.

    folders: where the photos of each source are. scenes: a cache of drawn scenes. kept: a file that the pixels are kept in, about
    4 bytes for each; where it holds all keys already, nothing is read anew. sizes: (width, height) of each picture.
    """

    def __init__(
        self,
        keys: Iterable[str],
        folders: dict[str, Path],
        scenes: Path | None,
        kept: Path,
        device: torch.device,
    ):
        self.device = device
        index = kept.with_suffix(".json")
        found: dict[str, list[tuple[int, int]]] = json.loads(index.read_text()) if index.exists() else {}
        if not set(keys) <= set(found):
            found = _keep(sorted(set(keys)), folders, scenes, kept)
            with atomic_write(index) as part:
                part.write_text(json.dumps(found))
        self.place = {key: number for number, key in enumerate(found)}
        shapes = np.array(list(found.values()), np.int64)
        ends = shapes.prod(2).cumsum().reshape(-1, LEVELS)
        # All pixels in one tensor, so that the crops of many pictures are read at once.
        pixels = np.memmap(kept, np.uint8, "c").reshape(-1, 3)
        self.pixels = torch.from_numpy(pixels).to(device)
        self.shapes = torch.from_numpy(shapes).to(device)
        self.starts = torch.from_numpy(ends - shapes.prod(2)).to(device)
        self.sizes = {key: (levels[0][0], levels[0][1]) for key, levels in found.items()}

    def crops(
        self, keys: Sequence[str], boxes: Tensor, mirrored: Sequence[bool], varied: bool
    ) -> tuple[Tensor, Tensor]:
        """What `region_crops` cuts, normalized as the backbone's input: crops (n, 3, SIDE, SIDE), and sizes (n, 2).

        keys: of the pictures. boxes: (n, 4) cxcywh, as many for each picture, one after the other; normalized to the picture, or to
        its mirror image where it is mirrored. varied: in another light, now and then blurred.
        """
        each = len(boxes) // len(keys)
        picture = torch.tensor([self.place[key] for key in keys], device=self.device)
        flipped = torch.tensor(mirrored, device=self.device).repeat_interleave(each)
        boxes = boxes.to(self.device, torch.float32)
        x = torch.where(flipped, 1 - boxes[:, 0], boxes[:, 0])
        blur = varied * (torch.rand(len(keys), device=self.device) < BLURRED)
        owner = picture.repeat_interleave(each)
        shape = self.shapes[owner]
        full = shape[:, 0].float()  # width, height
        sides = boxes[:, 2:] * full
        longer = sides.amax(1).clamp(min=1.0)
        scale = FRAME / full.prod(1).sqrt()
        sizes = [(sides[:, 0].clamp(min=1) / sides[:, 1].clamp(min=1)).log(), (scale * longer / SIDE).log()]
        side = torch.maximum(longer * SURROUNDINGS, LEAST / scale)
        level = (side / SIDE).clamp(min=1).log2().floor() + blur.repeat_interleave(each)
        level = level.long().clamp(max=LEVELS - 1)[:, None, None].expand(-1, 1, 2)
        size = shape.gather(1, level)[:, 0]
        start = self.starts[owner].gather(1, level[:, :, 0])[:, 0]
        centers = torch.stack([x, boxes[:, 1]], 1) * size
        spans = side[:, None] * (size / full)
        read = self._warped if self.device.type == "cpu" else self._read
        found = read(start, size, centers, spans)
        found = torch.where(flipped[:, None, None, None], found.flip(-1), found)
        return normalized(in_other_light(found, each) if varied else found), torch.stack(sizes, 1)

    def _warped(self, start: Tensor, size: Tensor, centers: Tensor, spans: Tensor) -> Tensor:
        """As `_read`, on a CPU, where OpenCV is several times as fast."""
        step = spans / SIDE
        maps = torch.zeros(len(start), 2, 3)
        maps[:, 0, 0], maps[:, 1, 1] = step[:, 0], step[:, 1]
        maps[:, :, 2] = centers - spans / 2 + step / 2 - 0.5
        pixels, crops = self.pixels.numpy(), np.empty((len(start), SIDE, SIDE, 3), np.uint8)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for number, (first, (width, height), there) in enumerate(
            zip(start.tolist(), size.tolist(), maps.numpy(), strict=True)
        ):
            picture = pixels[first : first + width * height].reshape(height, width, 3)
            crops[number] = cv2.warpAffine(
                picture, there, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        return torch.from_numpy(crops).float().permute(0, 3, 1, 2)

    def _read(self, start: Tensor, size: Tensor, centers: Tensor, spans: Tensor) -> Tensor:
        """Crops (n, 3, SIDE, SIDE) of 255, bilinear.

        start: (n,) where the picture begins. size, centers, spans: (n, 2) width and height of the picture, and where the crop is in
        its pixels.
        """
        across, down = (self._points(centers[:, n], spans[:, n], size[:, n]) for n in (0, 1))
        found: Any = 0.0
        for row, share_down in ((down[0], 1 - down[2]), (down[1], down[2])):
            line = start[:, None] + row * size[:, :1]
            for column, share_across in ((across[0], 1 - across[2]), (across[1], across[2])):
                values = self.pixels[line[:, :, None] + column[:, None]]
                found = found + values * (share_down[:, :, None] * share_across[:, None])[..., None]
        crops: Tensor = found
        return crops.permute(0, 3, 1, 2)

    def _points(self, center: Tensor, span: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Along an axis the pixels before and after each point of the crops, (n, SIDE), and the share of the second."""
        at = (torch.arange(SIDE, device=self.device) + 0.5) / SIDE - 0.5
        last = (size - 1)[:, None]
        place = (center[:, None] + span[:, None] * at - 0.5).clamp(min=0)
        place = torch.minimum(place, last.to(place.dtype))
        first = place.floor().long()
        return first, torch.minimum(first + 1, last), place - first


def _keep(
    keys: Sequence[str], folders: dict[str, Path], scenes: Path | None, kept: Path
) -> dict[str, list[tuple[int, int]]]:
    """Write the levels of pictures to a file, one after the other; (width, height) of each."""
    drawn = FrameCache(scenes).images if scenes else None

    def levels(key: str) -> list[Any]:
        source, name = key.split("/")
        if source == DRAWN:
            assert drawn is not None
            image = np.array(drawn[int(name)])
        else:
            image = np.array(open_image(folders[source] / name))
        found = [image]
        for _ in range(LEVELS - 1):
            height, width = found[-1].shape[:2]
            size = ((width + 1) // 2, (height + 1) // 2)
            found.append(cv2.resize(found[-1], size, interpolation=cv2.INTER_AREA))
        return found

    sizes = {}
    with atomic_write(kept) as part, open(part, "wb") as out, ThreadPoolExecutor() as threads:
        for start in range(0, len(keys), 64):  # a map over all would hold all
            some = keys[start : start + 64]
            for key, found in zip(some, threads.map(levels, some), strict=True):
                for image in found:
                    out.write(np.ascontiguousarray(image).tobytes())
                sizes[key] = [(image.shape[1], image.shape[0]) for image in found]
    return sizes


def in_other_light(crops: Tensor, each: int) -> Tensor:
    """Crops (n, 3, SIDE, SIDE) of 255 in another light, of `each` in a row nearly the same."""

    def random(spread: float, own: float) -> Tensor:
        shared = torch.randn(len(crops) // each, device=crops.device) * spread
        one = torch.randn(len(crops), device=crops.device) * own
        return (shared.repeat_interleave(each) + one)[:, None, None, None]

    gray = crops.mean(1, keepdim=True)
    crops = gray + (crops - gray) * random(0.2, 0.06).exp()
    middle = crops.mean((1, 2, 3), keepdim=True)
    crops = (crops - middle) * random(0.2, 0.08).exp() + middle + random(12, 4)
    return crops.clamp(0, 255)
