"""Token logits as logits of sentences, for grounders whose score is the best token's (`token_pooling="max"`).

GroundingDINO is trained token by token and scores a box by its best token. Here the loss is about sentences, so a sentence
gets the logit by which it would be scored: its best token's.
"""

from dataclasses import replace

import torch
from torch import Tensor

from piza.model.grounder import Grounding
from piza.training.losses import Targets

ABSENT = -1e4  # the logit of a sentence that a prompt does not have


def by_sentence(
    grounding: Grounding, pooling: Tensor, targets: list[Targets]
) -> tuple[Grounding, list[Targets]]:
    """A look's token logits as sentence logits, with the targets that fit them.

    `pooling` (batch, tokens, blocks) is the prompter's, over 0 where a token is of a block. The new logits have 1 + blocks
    columns. The first is the best of the tokens that are in no sentence ([CLS], [SEP]): true of nothing, and trained to be so,
    because a search takes the best of all tokens.
    """
    logits = _best(grounding.logits, pooling)
    proposals = _best(grounding.proposal_logits, pooling)
    shifted = [
        Targets(torch.cat([t.positive.new_zeros(len(t.positive), 1), t.positive], 1), t.answer, t.target)
        for t in targets
    ]
    return replace(grounding, logits=logits, proposal_logits=proposals), shifted


def _best(logits: Tensor, pooling: Tensor) -> Tensor:
    """(..., batch, n, tokens) -> (..., batch, n, 1 + blocks)."""
    rows = []
    for number, blocks in enumerate(pooling.unbind(0)):
        own = logits[..., number, :, :]
        outside = (blocks == 0).all(1).nonzero()[:, 0]
        columns = [own[..., outside].amax(-1)]
        for block in blocks.unbind(1):
            inside = block.nonzero()[:, 0]  # the tokens of a sentence stand in one row
            columns.append(
                own[..., int(inside[0]) : int(inside[-1]) + 1].amax(-1)
                if len(inside)
                else torch.full_like(columns[0], ABSENT)
            )
        rows.append(torch.stack(columns, -1))
    return torch.stack(rows, -3)
