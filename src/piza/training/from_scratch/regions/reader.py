"""What learns from lists and from the pictures that they are of: matcher and region encoder, together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from piza.files import atomic_write
from piza.model.matcher import TRAITS
from piza.model.region_encoder import STATE, moved
from piza.training.from_scratch.lists.object_lists import ToldLists
from piza.training.from_scratch.lists.reader import (
    ListedFrames,
    ListReader,
    half_precision,
    listed_loss,
    named,
)
from piza.training.from_scratch.lists.train_matcher import STATES
from piza.training.from_scratch.regions.namer import RegionBatch, RegionNamer, naming_loss
from piza.training.from_scratch.regions.pixels import RegionPixels

T = TypeVar("T", ListedFrames, ToldLists, RegionBatch)

MOVED = 0.06  # of a box of a region: its center, in sides; its sides, about as much
FAR = (0.04, 0.2)  # the same of one whose sides are to be told: as far as a list misses them
ATTRIBUTE = 0.2  # usual size of an attribute in a list, beside 1 of the numbers of a region
LEXICON = 0.25  # of the namer's logits of words: what similarity begins with
WEIGHT = 0.3  # of what names teach, beside sentences


@dataclass
class RegionsAt:
    """Regions before they are cut out: a key for each, boxes (n, 4) cxcywh, normalized to the picture or its mirror image, and
    what is told of them, as in `RegionBatch`."""

    keys: list[str]
    boxes: Tensor
    mirrored: list[bool]
    said: Tensor
    named: Tensor
    attributes: Tensor
    known: Tensor
    tight: Tensor


class JointReader(nn.Module):
    """A `ListReader` with the encoder that tells it of regions, and the pictures that these are cut out of."""

    def __init__(self, reader: ListReader, namer: RegionNamer, pixels: RegionPixels):
        super().__init__()
        reader.network.regions = None  # the encoder that learns is the namer's
        self.reader, self.namer = reader, namer
        self.pixels = pixels
        namer.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encoded(self, keys: Sequence[str], boxes: Tensor, mirrored: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """What regions look like, (pictures * k, STATE), and how to move them, of boxes (pictures, k, 4) in some pictures."""
        crops, sizes = self.pixels.crops(keys, boxes.flatten(0, 1), mirrored, self.training)
        with half_precision(self.pixels.device):
            states, moves = self.namer.encoder(crops, sizes)
        return states.float(), moves.detach().float()

    def told(self, batch: ListedFrames) -> ListedFrames:
        """The batch on the device, with its regions seen."""
        boxes = batch.boxes.float()
        if self.training:
            boxes = misplaced(boxes, 0.5 * MOVED)
        regions, moves = self.encoded(batch.keys, boxes, batch.mirrored)
        batch = on_device(batch, self.pixels.device)
        before, after = batch.features[..., : -STATE - 1], batch.features[..., -1:]
        features = torch.cat([before, regions.view(*before.shape[:2], STATE), after], -1)
        return replace(batch, features=features, boxes=moved(boxes.to(moves), moves.view_as(boxes)))

    def read(self, batch: ListedFrames) -> Tensor:
        """Logits (lists, sentences, k) of which object each sentence means."""
        return self.reader.read(self.told(batch))

    def regions(self, batch: RegionsAt) -> RegionBatch:
        """The batch on the device, cut out."""
        boxes = batch.boxes
        if self.training:
            low, high = FAR
            far = low + (high - low) * torch.rand(len(boxes), 1)
            boxes = misplaced(boxes, torch.where(batch.tight[:, None], far, MOVED))
        crops, sizes = self.pixels.crops(batch.keys, boxes, batch.mirrored, self.training)
        told = batch.said, batch.named, batch.attributes, batch.known
        region = RegionBatch(crops, sizes, *told, boxes, batch.boxes, batch.tight)
        return on_device(region, self.pixels.device)

    def start_lexicon(
        self, vocabulary: dict[str, int], words: Sequence[str], attributes: Sequence[str]
    ) -> None:
        """Begin the matcher's lexicon: a word describes what the namer says it of, and what an attribute's value calls so.

        vocabulary: ids by token. words: of the namer; a plural begins like its singular. attributes: "color=red". Of all that
        words say of features, the lexicon and the traits keep what TRAITS numbers can hold (singular values).
        """
        matcher = self.reader.matcher
        place = {word: number for number, word in enumerate(words)}
        valued = [set(re.split("[= ]", word)[1:]) for word in attributes]
        table = torch.zeros(
            len(matcher.lexicon.weight), matcher.traits.in_features
        )  # what each word says of each feature
        said = self.namer.said.weight.detach()
        for token, number in vocabulary.items():
            known = next((w for w in (token, token.removesuffix("s"), f"{token}s") if w in place), None)
            if known:
                table[number, -STATE - 1 : -1] = LEXICON * said[place[known]]
            for column, values in enumerate(valued, STATES):
                table[number, column] = float(bool(values & {token, token.removesuffix("s")}))
        usual = torch.ones(table.shape[1])
        usual[STATES : -STATE - 1] = ATTRIBUTE
        words_of, strength, features_of = torch.linalg.svd(table * usual, full_matrices=False)
        share = strength[:TRAITS].sqrt()
        with torch.no_grad():
            matcher.lexicon.weight.copy_(words_of[:, :TRAITS] * share)
            matcher.traits.weight.copy_(share[:, None] * features_of[:TRAITS] / usual)

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by the names in the state."""
        return {f"reader.{name}": p for name, p in self.reader.trained().items()} | {
            f"namer.{name}": p for name, p in self.namer.named_parameters()
        }


def misplaced(boxes: Tensor, spread: float | Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh at random beside where they are: `spread` is the standard deviation of a center, in sides of the box."""
    noise = torch.randn_like(boxes) * spread
    return torch.cat(
        [boxes[..., :2] + noise[..., :2] * boxes[..., 2:], boxes[..., 2:] * (1.5 * noise[..., 2:]).exp()], -1
    )


def on_device(batch: T, device: torch.device) -> T:
    """The batch with its tensors on a device."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    moved: Any = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **moved)


def joint_loss(joint: nn.Module, batch: ListedFrames | ToldLists | RegionsAt) -> dict[str, Tensor]:
    """`listed_loss`, or `naming_loss` of regions."""
    assert isinstance(joint, JointReader)
    if isinstance(batch, ToldLists):
        return listed_loss(joint.reader, on_device(batch, joint.pixels.device))
    if isinstance(batch, ListedFrames):
        return listed_loss(joint.reader, joint.told(batch))
    with half_precision(joint.pixels.device):
        cut = joint.regions(batch)
        losses = naming_loss(joint.namer, cut)
    return {name: value * (WEIGHT if name == "loss" else 1) for name, value in losses.items()}


def exported(average: dict[str, Tensor], folder: Path, proposals: Path, suffix: str = "") -> None:
    """Write the averaged weights as files of the network and of the matcher."""
    encoder = {
        name.replace("namer.encoder.", "regions.", 1): tensor.half().contiguous()
        for name, tensor in average.items()
        if name.startswith("namer.encoder.")
    }
    read = {
        name.removeprefix("reader."): t.float() for name, t in average.items() if name.startswith("reader.")
    }
    with atomic_write(folder / f"proposals{suffix}.safetensors") as part:
        save_file({**load_file(proposals), **encoder}, part)
    with atomic_write(folder / f"matcher{suffix}.safetensors") as part:
        save_file(named(read), part)
