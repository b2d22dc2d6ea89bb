"""Matching a sentence with the objects of an image.

"The second red car from the left" is decided among objects, and most of that is language. Where a detector looks with the
sentence in mind, every sentence costs a look; here the objects are found once, whatever is asked (proposals.py), and a sentence
is read against the list of them: a small transformer whose tokens are objects, which read the words and compare themselves
with each other. An image then serves all its sentences, in training too, where language is what takes most examples.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from piza.model.proposals import Proposals
from piza.model.relations import FREQUENCIES, HIDDEN, Compare, pair_features
from piza.model.tensor_boxes import iou

ACROSS = 96.0  # the unit of distances between objects: so many of them are the width of the image
WAVES = (1.0, 2.0, 4.0, 8.0)
SAME = 0.5  # IoU of two boxes that may be of one thing
TEMPERATURE = 1.4  # of the choice among objects, which a matcher makes more surely than it is right
TRAITS = 64  # width of what words describe of an object
RELEVANCE = 3  # kinds of relevance of an object to a sentence, learned too: piza.data.scenes.relevance


class Attention(nn.Module):
    """Scaled dot products with several heads; a bias is added to the logits."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.out, self.key, self.value = (nn.Linear(width, width) for _ in range(4))

    def forward(self, own: Tensor, others: Tensor, bias: Tensor) -> Tensor:
        """Own (n, k, width), others (n, m, width), bias broadcast to (n, heads, k, m) -> (n, k, width)."""
        query, key, value = self.split(own, others)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output

    def split(self, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, heads, k, width / heads) of `own`, keys and values (n, heads, m, width / heads) of `others`."""
        query, key, value = (
            values.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for values in (self.query(own), self.key(others), self.value(others))
        )
        return query, key, value


def _feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class WordLayer(nn.Module):
    """Words read each other."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.feed_forward = _feed_forward(width)

    def forward(self, words: Tensor, unread: Tensor) -> Tensor:
        """Words (n, tokens, width), unread (n, 1, 1, tokens) added to the logits of attention."""
        normed = self.norms[0](words)
        words = words + self.attention(normed, normed, unread)
        change: Tensor = self.feed_forward(self.norms[1](words))
        return words + change


class WordAttention(Attention):
    """Objects attend to words, the more so to those that describe them, and are told how well these do.

    A plain sum over values tells an object which words it attends to, whether they describe it or not; `strength` adds how well.
    """

    def __init__(self, width: int, heads: int):
        super().__init__(width, heads)
        self.similarity_weight = nn.Parameter(torch.full((heads,), 0.25))
        self.strength = nn.Linear(heads, width, bias=False)
        nn.init.zeros_(self.strength.weight)

    def described(self, own: Tensor, words: Tensor, bias: Tensor, similarity: Tensor) -> Tensor:
        """As `Attention`, of objects and words; similarity (n, k, m): how well each word describes each object."""
        query, key, value = self.split(own, words)
        logits = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + bias
        weights = (logits + self.similarity_weight[:, None, None] * similarity[:, None]).softmax(-1)
        attended = self.out((weights @ value).transpose(1, 2).flatten(2))
        output: Tensor = attended + self.strength((weights * similarity[:, None]).sum(-1).transpose(1, 2))
        return output


class ObjectLayer(nn.Module):
    """Objects read the words, then each other."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.cross_attention = WordAttention(width, heads)
        self.self_attention = Attention(width, heads)
        self.bias = nn.Linear(HIDDEN, heads)
        self.compare = Compare(width, questions=4, inner=12)
        self.feed_forward = _feed_forward(width)

    def forward(
        self, objects: Tensor, words: Tensor, unread: Tensor, pairs: Tensor, similarity: Tensor
    ) -> Tensor:
        """New states of the objects, for each sentence.

        objects: (images, sentences, k, width). words: (images * sentences, tokens, width), with `unread` as in WordLayer.
        pairs: (images, k, k, HIDDEN). similarity: (images * sentences, k, tokens), as in WordAttention.
        """
        sentences = objects.shape[1]
        read = self.cross_attention.described(self.norms[0](objects).flatten(0, 1), words, unread, similarity)
        objects = objects + read.view_as(objects)
        normed = self.norms[1](objects)
        bias = self.bias(pairs).permute(0, 3, 1, 2)[:, None].expand(-1, sentences, -1, -1, -1).flatten(0, 1)
        compared = self.self_attention(normed.flatten(0, 1), normed.flatten(0, 1), bias).view_as(objects)
        objects = objects + compared + self.compare(normed, normed, pairs)
        change: Tensor = self.feed_forward(self.norms[2](objects))
        return objects + change


class ExpressionMatcher(nn.Module):
    """Matches sentences with objects.

    vocabulary: number of token ids. features: width of what is known of an object, as `Proposals.features` has it. longest: of
    a sentence in tokens. Each word has a vector in a lexicon, whose dot product with an object's traits, made of what is known of
    it, says how well the word describes it.
    """

    def __init__(
        self,
        vocabulary: int,
        features: int,
        width: int = 96,
        heads: int = 4,
        text_layers: int = 2,
        layers: int = 4,
        longest: int = 256,
    ):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(longest, width)
        nn.init.normal_(self.words.weight, std=0.3)
        nn.init.normal_(self.positions.weight, std=0.3)
        self.lexicon = nn.Embedding(vocabulary, TRAITS)
        self.traits = nn.Linear(features, TRAITS, bias=False)
        nn.init.normal_(self.lexicon.weight, std=0.02)
        self.text = nn.ModuleList(WordLayer(width, heads) for _ in range(text_layers))
        self.features = nn.Linear(features, width)
        self.box = nn.Linear(4 * (1 + 2 * len(WAVES)), width)
        self.pair = nn.Linear(6 * (1 + 2 * len(FREQUENCIES)), HIDDEN)
        self.objects = nn.ModuleList(ObjectLayer(width, heads) for _ in range(layers))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.answer = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.relevance = nn.ModuleList(nn.Linear(width, RELEVANCE) for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor, found: Proposals) -> tuple[Tensor, Tensor]:
        """`read` of the objects that a `ProposalNetwork` found."""
        aspect = found.size[1] / found.size[0]
        kind = self.features.weight.dtype
        return self.read(ids, mask, found.features.to(kind), found.boxes[-1].detach().to(kind), aspect)

    def read(
        self, ids: Tensor, mask: Tensor, features: Tensor, boxes: Tensor, aspect: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Whether each object is the one that each sentence means, and its relevance.

        Args:
            ids, mask: (images, sentences, tokens); True where a token is real.
            features: (images, k, width) what is known of each object.
            boxes: (images, k, 4) cxcywh, normalized to the image.
            aspect: height over width of the images, of all or (images,) of each.

        Returns:
            Logits (layers, images, sentences, k), where 0 stands for none of the objects, and logits
            (layers, images, sentences, k, RELEVANCE). The last layer answers.
        """
        sentences = ids.shape[1]
        ids, mask = ids.flatten(0, 1), mask.flatten(0, 1)
        unread = (~mask).to(features.dtype)[:, None, None] * -1e4
        words = self.words(ids) + self.positions.weight[: ids.shape[1]]
        for layer in self.text:
            words = layer(words, unread)
        height = torch.as_tensor(aspect, dtype=boxes.dtype, device=boxes.device)
        sides = torch.stack([height, torch.ones_like(height)], -1)
        pairs = functional.relu(self.pair(pair_features(boxes, ACROSS * sides)))
        objects = self.features(features) + self.box(box_features(boxes))
        objects = objects[:, None].expand(-1, sentences, -1, -1)
        similarity = self.similarity(ids, mask, features)
        answers, relevance = [], []
        for number, layer in enumerate(self.objects):
            objects = layer(objects, words, unread, pairs, similarity)
            state = self.norm[number](objects)
            answers.append(self.answer[number](state)[..., 0])
            relevance.append(self.relevance[number](state))
        return torch.stack(answers), torch.stack(relevance)

    def similarity(self, ids: Tensor, mask: Tensor, features: Tensor) -> Tensor:
        """How well each word describes each object: (images * sentences, k, tokens), 0 for tokens that are not real.

        ids, mask: (images * sentences, tokens). features: (images, k, width).
        """
        words = self.lexicon(ids) * mask[..., None].to(features.dtype)
        traits = self.traits(features).repeat_interleave(len(ids) // len(features), 0)
        similarity: Tensor = traits @ words.transpose(1, 2)
        return similarity


def log_odds(answers: Tensor) -> Tensor:
    """Logits (..., k) of each object, 0 standing for none of them -> float32 log-odds (..., k) of each against all else."""
    return _log_odds(answers.float(), torch.eye(answers.shape[-1], device=answers.device))


def log_odds_of_things(answers: Tensor, boxes: Tensor) -> Tensor:
    """How likely the thing that each box (k, 4) shows is what is meant: float32 log-odds (..., k).

    A thing is often listed twice, and its boxes share what is said of it. So each has, beside its own probability, that of
    every box it overlaps by `SAME` or more, times their IoU: the highest is the box that overlaps what is meant best, on
    average over what that may be. answers: as `log_odds`. boxes: cxcywh, normalized.
    """
    overlap = iou(boxes.float(), boxes.float())
    itself = torch.eye(len(boxes), device=boxes.device)
    same = torch.where(itself > 0, itself, torch.where(overlap >= SAME, overlap, 0.0))
    return _log_odds(answers.float() / TEMPERATURE, same)


def _log_odds(answers: Tensor, same: Tensor) -> Tensor:
    one, none = functional.pad(answers, (0, 1)).softmax(-1).split([answers.shape[-1], 1], -1)
    # A sum of the others, as 1 less something near 1 would be mostly rounding.
    others = one @ (1 - same) + none
    odds: Tensor = (one @ same).clamp(min=1e-12).log() - others.clamp(min=1e-12).log()
    return odds


def box_features(boxes: Tensor) -> Tensor:
    """(..., 4) cxcywh, normalized -> (..., 36): places, logarithms of sizes, and sinusoids of these."""
    plain = torch.cat([boxes[..., :2] * 2 - 1, (boxes[..., 2:].clamp(min=1e-4) * 100).log() / 2], -1)
    waves = [wave(plain * f) for f in WAVES for wave in (torch.sin, torch.cos)]
    return torch.cat([plain, *waves], -1)
