"""What a query knows of its own thing at the start, and of where the other queries' things lie.

"The second car from the left" is decided between queries. The library's start all alike and meet as sums of sinusoids;
left and right must be read out of these. Here a query starts with what its cell saw, and attends to another the more or
less as the two boxes lie to each other, a bias of its own for each head and layer (much as in Hou et al., "Relation DETR",
ECCV 2024). Both start at zero: fresh, they change nothing.

And the others must be there. The cells that suit a sentence best are seldom those of the buses that it places its car by.
So some queries can be given to the cells that look most like a thing of whatever kind: `things`.
"""

import torch
from torch import Tensor, nn

FREQUENCIES = (1.0, 2.0, 4.0)
HIDDEN = 32


class Relations(nn.Module):
    def __init__(self, width: int, heads: int, layers: int, things: int = 0):
        super().__init__()
        self.things = things
        self.heads, self.layers = heads, layers
        self.content = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(6 * (1 + 2 * len(FREQUENCIES)), HIDDEN)
        self.bias = nn.Linear(HIDDEN, heads * layers)
        self.thing = nn.Linear(width, 1) if things else None
        if self.thing is not None:
            nn.init.constant_(self.thing.bias, -4.0)  # few cells are the center of a thing
        for zero in (self.content.weight, self.bias.weight, self.bias.bias):
            nn.init.zeros_(zero)

    def with_things(self, best: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last `things` of the best cells given to those that look most like a thing and are not among the others.

        best: (batch, groups, queries) cells, best first; seen: (batch, cells, d_model). Returns new cells and how much every
        cell looks like a thing, logits (batch, cells), None without `things`.
        """
        if self.thing is None:
            return best, None
        logits = self.thing(seen)[..., 0]
        things = min(self.things, best.shape[-1] - 1)
        own = best[..., : best.shape[-1] - things]
        free = logits.detach()[:, None].expand(-1, best.shape[1], -1).scatter(2, own, float("-inf"))
        return torch.cat([own, torch.topk(free, things, dim=2)[1]], 2), logits

    def biases(self, boxes: Tensor, cells: Tensor) -> list[Tensor]:
        """Boxes (n, queries, 4) cxcywh, normalized; cells: (2,) height and width of the finest level.

        Returns for each layer (n, heads, queries, queries), to be added to the attention's logits.
        """
        hidden = nn.functional.relu(self.pair(pair_features(boxes, cells)))
        found = self.bias(hidden).permute(3, 0, 1, 2)  # (heads * layers, n, queries, queries)
        return [layer.transpose(0, 1) for layer in found.split(self.heads)]


def pair_features(boxes: Tensor, cells: Tensor) -> Tensor:
    """(n, queries, 4) -> (n, queries, queries, 42): how far right and below the second box lies, in cells and in sizes of the
    first, and how much larger it is; logarithms, for near things matter more, and sinusoids of these."""
    scale = cells.flip(0).to(boxes)
    center = boxes[..., :2] * scale
    size = (boxes[..., 2:] * scale).clamp(min=0.1)
    apart = center[:, None] - center[:, :, None]
    relative = apart / size[:, :, None]
    larger = (size[:, None] / size[:, :, None]).log()
    plain = torch.cat([_short(apart), _short(relative), larger], -1)
    waves = [wave(plain * f) for f in FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([plain, *waves], -1)


def _short(distance: Tensor) -> Tensor:
    """The logarithm of a distance, with its sign."""
    return distance.sign() * distance.abs().log1p()
