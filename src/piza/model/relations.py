"""Relations between queries: their initial states, and the relative positions of their boxes.

"The second car from the left" is decided among queries. The library's queries all start alike and have positions that
are sums of sinusoids, from which left and right must be learned. Here a query starts with the features of its cell,
and a bias for each head and layer makes it attend to another by how the two boxes lie to each other (much as in Hou et
al., "Relation DETR", ECCV 2024). `Compare` adds sums: for each of several learned questions every other query gets a
weight, by its state and its relative position, and the weighted states and positions are summed. Not averaged, as a
mean cannot tell the second from the third. All outputs are initialized to zero, so that a fresh module changes nothing.

The objects to compare with need queries, too. The cells that suit a sentence best are seldom those of the buses by
which it locates its car. So some queries (`object_queries`) can be placed on the cells that most likely are the
center of an object of any kind.
"""

import torch
from torch import Tensor, nn

FREQUENCIES = (1.0, 2.0, 4.0)
HIDDEN = 32


class Compare(nn.Module):
    """What an object gathers from the others: for each of some questions, a sum over those that it singles out."""

    def __init__(self, width: int, questions: int = 6, inner: int = 16):
        super().__init__()
        self.questions, self.inner = questions, inner
        self.query, self.key, self.value = (nn.Linear(width, questions * inner) for _ in range(3))
        self.place = nn.Linear(width, questions * (HIDDEN + 1))
        self.out = nn.Linear(questions * (HIDDEN + inner), width)
        with torch.no_grad():
            self.place.bias.view(questions, -1)[:, -1] = -2.0  # most others do not count
            self.out.weight.zero_()
            self.out.bias.zero_()

    def forward(self, own: Tensor, states: Tensor, pairs: Tensor) -> Tensor:
        """What is to be added to what self-attention returns: (n, groups, objects, width).

        own: (n, groups, objects, width), states with their positions. states: the same without. pairs: (n, objects, objects,
        HIDDEN), where they lie to each other, in all groups alike.
        """
        count, groups, objects, _ = own.shape
        rows = groups * self.questions

        def split(values: Tensor) -> Tensor:
            """(n, groups, questions, objects, ...)."""
            by_question: Tensor = values.unflatten(-1, (self.questions, -1)).transpose(2, 3)
            return by_question

        logits = split(self.query(own)) @ split(self.key(own)).transpose(3, 4) / self.inner**0.5
        place = self.place(own).unflatten(-1, (self.questions, -1))
        asked = place[..., :-1].transpose(1, 2).reshape(count, objects, rows, -1)
        where = asked @ pairs.transpose(2, 3) / HIDDEN**0.5
        where = where.view(count, objects, groups, self.questions, objects).permute(0, 2, 3, 1, 4)
        counts = (logits + where + place[..., -1:].transpose(2, 3)).sigmoid()
        what = (counts @ split(self.value(states))).transpose(2, 3)  # (n, groups, objects, questions, inner)
        lying = counts.permute(0, 3, 1, 2, 4).reshape(count, objects, rows, objects) @ pairs
        lying = lying.view(count, objects, groups, self.questions, HIDDEN).transpose(1, 2)
        change: Tensor = self.out(torch.cat([what, lying], -1).flatten(3) / 4)
        return change


class Relations(nn.Module):
    """Positions of queries relative to one another, for each layer of a decoder.

    width: of the decoder. heads, layers: of its self-attention. object_queries: queries given to any objects.
    """

    def __init__(self, width: int, heads: int, layers: int, object_queries: int = 0):
        super().__init__()
        self.object_queries = object_queries
        self.heads, self.layers = heads, layers
        self.content = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(6 * (1 + 2 * len(FREQUENCIES)), HIDDEN)
        self.bias = nn.Linear(HIDDEN, heads * layers)
        self.compare = nn.ModuleList(Compare(width) for _ in range(layers))
        self.objectness = nn.Linear(width, 1) if object_queries else None
        if self.objectness is not None:
            nn.init.constant_(self.objectness.bias, -4.0)  # few cells are the center of an object
        for zero in (self.content.weight, self.bias.weight, self.bias.bias):
            nn.init.zeros_(zero)

    def with_objects(self, best: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gives the last `object_queries` of the best cells to those that most likely are objects and are not among the others.

        best: (batch, groups, queries) cells, best first. seen: (batch, cells, d_model). Returns new cells, and logits (batch,
        cells) of each being the center of an object, None without `object_queries`.
        """
        if self.objectness is None:
            return best, None
        logits = self.objectness(seen)[..., 0]
        objects = min(self.object_queries, best.shape[-1] - 1)
        own = best[..., : best.shape[-1] - objects]
        free = logits.detach()[:, None].expand(-1, best.shape[1], -1).scatter(2, own, float("-inf"))
        return torch.cat([own, torch.topk(free, objects, dim=2)[1]], 2), logits

    def pairs(self, boxes: Tensor, cells: Tensor) -> Tensor:
        """What every query knows of where each other lies: (n, queries, queries, HIDDEN).

        boxes: (n, queries, 4) cxcywh, normalized. cells: (2,) height and width of the finest level.
        """
        return nn.functional.relu(self.pair(pair_features(boxes, cells)))

    def biases(self, pairs: Tensor) -> list[Tensor]:
        """For each layer (n, heads, queries, queries), to be added to the logits of self-attention."""
        biases = self.bias(pairs).permute(3, 0, 1, 2)  # (heads * layers, n, queries, queries)
        return [layer.transpose(0, 1) for layer in biases.split(self.heads)]


def pair_features(boxes: Tensor, cells: Tensor) -> Tensor:
    """What is measured of each pair of boxes: (n, queries, 4) cxcywh, normalized -> (n, queries, queries, 42).

    How far right and below the second box lies, in cells and in sizes of the first, and how much larger it is; logarithms, for
    near objects matter more, and sinusoids of these. cells: (2,) height and width of the grid, or (n, 2).
    """
    scale = cells.flip(-1).to(boxes)
    scale = scale[:, None] if scale.ndim == 2 else scale
    center = boxes[..., :2] * scale
    size = (boxes[..., 2:] * scale).clamp(min=0.1)
    distance = center[:, None] - center[:, :, None]
    relative = distance / size[:, :, None]
    larger = (size[:, None] / size[:, :, None]).log()
    plain = torch.cat([_short(distance), _short(relative), larger], -1)
    waves = [wave(plain * f) for f in FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([plain, *waves], -1)


def _short(distance: Tensor) -> Tensor:
    """The logarithm of a distance, with its sign."""
    return distance.sign() * distance.abs().log1p()
