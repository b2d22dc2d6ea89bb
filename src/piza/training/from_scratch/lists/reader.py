"""What learns from real lists: the matcher, and how the proposal network describes objects in the end."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from piza.model.matcher import ExpressionMatcher
from piza.model.nanodet_proposals import NanoDetProposals, has_native_bfloat16
from piza.model.region_encoder import STATE as REGION_STATE
from piza.training.from_scratch.lists.cached import LISTED
from piza.training.from_scratch.lists.object_lists import ToldLists
from piza.training.from_scratch.lists.train_matcher import PREFIX, STATES, list_loss
from piza.training.from_scratch.proposals.train import network_of

DESCRIBING = tuple(
    f"network.{part}." for part in ("last_patch", "mix", "last", "attributes")
)  # what describes objects
KEEP = 10.0  # weight of keeping the attributes that were listed


@dataclass
class ListedFrames:
    """A batch: ids, mask (lists, sentences, tokens); features (lists, k, width) as they were listed, read and seen (lists, k, ...)
    to describe the objects anew, words (lists, words) the order of attributes (another in a mirrored list), kept (lists, k, width)
    0 for features that are left out; boxes (lists, k, 4), aspect (lists,); right (lists, sentences, k + 1) 1 for every proposal that is the one, the last for none of them; asked (lists, sentences); relevance (lists,
    sentences, k, 3), 0.5 where it is not known; rivals (lists, sentences, k + 1) 0 for proposals that may be meant or not; keys of the
    frames, rows of the cache, and whether each list is mirrored."""

    ids: Tensor
    mask: Tensor
    features: Tensor
    read: Tensor
    seen: Tensor
    words: Tensor
    kept: Tensor
    boxes: Tensor
    aspect: Tensor
    right: Tensor
    asked: Tensor
    relevance: Tensor
    rivals: Tensor
    kind: str
    keys: list[str]
    listed: list[int]
    mirrored: list[bool]


class ListReader(nn.Module):
    """The matcher, and the last part of the proposal network: how objects are described, of what was read and seen of them."""

    def __init__(self, network: NanoDetProposals, matcher: ExpressionMatcher):
        super().__init__()
        self.network, self.matcher = network, matcher

    def features(self, batch: ListedFrames) -> tuple[Tensor, Tensor]:
        """Features (lists, k, width) of objects, and logits (lists, k, words) of their attributes before a mirror."""
        states, attributes = self.network.described(batch.read, batch.seen)
        order = batch.words[:, None].expand_as(attributes)
        words = attributes.sigmoid().gather(-1, order)
        rest = batch.features[..., states.shape[-1] + words.shape[-1] :]
        return torch.cat([states, words, rest], -1) * batch.kept, attributes

    def read(self, batch: ListedFrames) -> Tensor:
        """Logits (lists, sentences, k) of which object each sentence means."""
        answers, _ = self.matcher.read(
            batch.ids, batch.mask, self.features(batch)[0], batch.boxes, batch.aspect
        )
        last: Tensor = answers[-1]
        return last

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by the names in the state."""
        return {n: p for n, p in self.named_parameters() if n.startswith(("matcher.", *DESCRIBING))}


def listed_loss(reader: nn.Module, batch: ListedFrames | ToldLists) -> dict[str, Tensor]:
    """Cross entropy of choosing any right proposal, or none, at every layer; of relevance; and of the attributes that were listed,
    so that what is known of objects is kept."""
    assert isinstance(reader, ListReader)
    if isinstance(batch, ToldLists):
        return list_loss(reader.matcher, batch)
    features, attributes = reader.features(batch)
    kept = functional.binary_cross_entropy_with_logits(
        attributes, batch.features[..., STATES:][..., : attributes.shape[-1]]
    )
    with half_precision(features.device):
        read = reader.matcher.read(batch.ids, batch.mask, features, batch.boxes, batch.aspect)
    answers, relevance = (part.float() for part in read)
    logits = torch.cat([answers, torch.zeros_like(answers[..., :1])], -1).masked_fill(batch.rivals == 0, -1e4)
    chosen = logits.masked_fill(batch.right == 0, -1e4).logsumexp(-1)
    which = 2 * (logits.logsumexp(-1) - chosen)[:, batch.asked].mean()
    wrong = functional.binary_cross_entropy_with_logits(
        relevance, batch.relevance.expand_as(relevance), reduction="none"
    )
    parts = []
    for value in (0.0, 1.0):
        where = (batch.relevance == value) & batch.asked[..., None, None]
        parts.append(wrong[:, where].mean() if where.any() else which.new_zeros(()))
    there = batch.asked & (batch.right[..., -1] == 0)
    best = logits[-1, ..., :-1].argmax(-1, keepdim=True)
    hits = batch.right[..., :-1].gather(-1, best)[..., 0][there]
    return {
        "loss": which + 0.5 * torch.stack(parts).sum() + KEEP * kept,
        f"which_{batch.kind}": which,
        f"right_{batch.kind}": hits.mean() if len(hits) else which.new_ones(()),
        f"held_{batch.kind}": there.sum() / batch.asked.sum(),
        f"kept_{batch.kind}": kept,
    }


def half_precision(device: torch.device) -> torch.autocast:
    """A `with` block that computes in bfloat16 where that is fast."""
    fast = device.type == "cuda" or has_native_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def start_matcher(path: Path, states: bool) -> ExpressionMatcher:
    """A matcher with a file's weights; without `states` it starts blind to states and regions, which its lists did not have."""
    weights = {
        name.removeprefix(PREFIX): tensor.float()
        for name, tensor in load_file(path).items()
        if name.startswith(PREFIX)
    }
    matcher = ExpressionMatcher(len(weights["words.weight"]), weights["features.weight"].shape[1])
    matcher.load_state_dict(weights)
    if not states:
        with torch.no_grad():
            matcher.features.weight[:, :STATES] = 0
            matcher.features.weight[:, -REGION_STATE - 1 : -1] = 0
    return matcher


def start_reader(args: argparse.Namespace, states: bool) -> ListReader:
    """The proposal network of a file, with what --matcher says of how it describes objects, and the matcher."""
    described = {
        name.removeprefix("proposals."): tensor
        for name, tensor in load_file(args.matcher).items()
        if name.startswith("proposals.")
    }
    network = network_of(args.base, load_file(args.proposals) | described, LISTED)
    return ListReader(network, start_matcher(args.matcher, states))


def named(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `ListReader` by their names in a model folder."""
    return {
        name.replace("network.", "proposals.", 1): tensor.contiguous() for name, tensor in weights.items()
    }
