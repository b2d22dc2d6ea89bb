"""What teaches the region encoder: the words of names, attributes, and which name belongs to which region."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from piza.model.region_encoder import STATE, RegionEncoder, moved
from piza.training.from_scratch.proposals.loss import moved_loss
from piza.training.from_scratch.proposals.nanodet_weights import load_nanodet
from piza.training.from_scratch.regions.named import ALIKE, NamedRegion

WORD_VECTOR = 128
SIDES = 3.0  # weight of the sides of tight boxes


@dataclass
class RegionBatch:
    """crops (n, 3, SIDE, SIDE), normalized, sizes (n, 2); said (n, words) 1 for words of the phrase, named (n,) whether there is
    one; attributes (n, attributes) and known, 1 where it is known whether they are true; boxes, wanted (n, 4) cxcywh, normalized: what
    was cut out, and where the thing is; tight (n,) whether `wanted` tells its sides."""

    crops: Tensor
    sizes: Tensor
    said: Tensor
    named: Tensor
    attributes: Tensor
    known: Tensor
    boxes: Tensor
    wanted: Tensor
    tight: Tensor


class RegionNamer(nn.Module):
    """The encoder, and what it is taught with: words, attributes, and phrases to choose from."""

    def __init__(self, words: Sequence[str], attributes: int):
        super().__init__()
        self.encoder = RegionEncoder()
        self.said = nn.Linear(STATE, len(words))
        self.attributes = nn.Linear(STATE, attributes)
        nn.init.constant_(self.said.bias, -4.0)
        nn.init.constant_(self.attributes.bias, -4.0)
        self.vectors = nn.Parameter(torch.randn(len(words), WORD_VECTOR) * WORD_VECTOR**-0.5)
        self.phrase = nn.Sequential(nn.Linear(WORD_VECTOR, STATE), nn.GELU(), nn.Linear(STATE, STATE))
        self.look = nn.Linear(STATE, STATE)
        self.scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def start(
        self, nanodet: Path | None, words: Sequence[str], vectors: dict[str, NDArray[np.float32]]
    ) -> None:
        """Pretrained weights of the backbone, if any, and word vectors."""
        if nanodet:
            backbone, _ = load_nanodet(nanodet)
            own = self.encoder.backbone.state_dict()
            self.encoder.backbone.load_state_dict(
                {k: v for k, v in backbone.state_dict().items() if k in own}
            )
        with torch.no_grad():
            for place, word in enumerate(words):
                if word in vectors:
                    self.vectors[place] = torch.from_numpy(vectors[word])

    def fits(self, states: Tensor, said: Tensor) -> Tensor:
        """Logits (n, m) whether each region (n, STATE) is what each phrase (m, words) says."""
        phrases = (said @ self.vectors) / said.sum(-1, keepdim=True).clamp(min=1)
        phrases = functional.normalize(self.phrase(phrases), dim=-1)
        return self.scale.exp() * functional.normalize(self.look(states), dim=-1) @ phrases.T + self.bias


def naming_loss(namer: nn.Module, batch: RegionBatch) -> dict[str, Tensor]:
    """Binary cross entropy of words, of attributes, and of which phrase fits which region (Zhai et al. 2023, SigLIP); and how far
    tight boxes are missed."""
    assert isinstance(namer, RegionNamer)
    states, moves = namer.encoder(batch.crops, batch.sizes)
    moves, tight = moves.float(), batch.tight
    sides = moved_loss(
        moved(batch.boxes[tight], moves[tight])[None], batch.wanted[tight]
    ) / tight.sum().clamp(min=1)
    cross_entropy = functional.binary_cross_entropy_with_logits
    named = batch.named
    words = cross_entropy(namer.said(states[named]), batch.said[named], reduction="sum") / named.sum()
    attributes = cross_entropy(
        namer.attributes(states), batch.attributes, weight=batch.known, reduction="sum"
    ) / (batch.known.amax(-1).sum() + 1)
    true = batch.said.sum(-1) > 0
    said = batch.said[true]
    common = said @ said.T
    alike = common / (said.sum(-1)[:, None] + said.sum(-1) - common)
    same = torch.eye(len(said), device=said.device)
    fits = namer.fits(states[true], said)
    each = cross_entropy(fits, same, reduction="none") * ((alike < ALIKE) | (same > 0))
    which = each.sum() / len(said)
    right = (
        fits.masked_fill((alike >= ALIKE) & (same == 0), -1e4).argmax(0)
        == torch.arange(len(said), device=said.device)
    ).float()
    return {
        "loss": words + attributes + which + SIDES * sides,
        "words": words,
        "attributes": attributes,
        "which": which,
        "sides": sides,
        "right": right.mean(),
    }


@torch.inference_mode()
def evaluate(
    namer: RegionNamer,
    batch_of: Callable[[Sequence[NamedRegion]], RegionBatch],
    named: Sequence[NamedRegion],
) -> dict[str, float]:
    """Of each photo: how often the phrase is matched with its own region among those that are named otherwise, by phrases and
    by words."""
    namer.eval()
    by_photo: dict[str, list[NamedRegion]] = {}
    for one in named:
        by_photo.setdefault(one.key, []).append(one)
    right: list[tuple[float, float, float]] = []
    for regions in by_photo.values():
        batch = batch_of(regions)
        states, _ = namer.encoder(batch.crops, batch.sizes)
        true = (batch.said.sum(-1) > 0).nonzero()[:, 0]
        if not len(true):
            continue
        said = batch.said[true]
        common = said @ batch.said.T
        alike = common / (said.sum(-1)[:, None] + batch.said.sum(-1) - common).clamp(min=1)
        other = (alike >= ALIKE) & (torch.arange(len(regions), device=true.device) != true[:, None])
        fits = namer.fits(states, said).T.masked_fill(other, -1e4)
        logits = namer.said(states)
        words = said @ functional.logsigmoid(logits).T + (1 - said) @ functional.logsigmoid(-logits).T
        words = words.masked_fill(other, -1e4)
        chance = 1 / (~other).sum(-1)
        for row, place in enumerate(true):
            right.append(
                (float(fits[row].argmax() == place), float(words[row].argmax() == place), float(chance[row]))
            )
    names = ("by phrase", "by words", "chance")
    return {n: round(100 * float(v), 1) for n, v in zip(names, np.mean(right, 0), strict=True)} | {
        "phrases": len(right)
    }
