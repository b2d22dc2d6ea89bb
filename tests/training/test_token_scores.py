"""Sentence logits are those by which a search scores, and teach the tokens that no sentence owns to be silent."""

import torch

from piza.model.text import Prompter
from piza.training.losses import Targets
from piza.training.token_scores import ABSENT, by_sentence

SENTENCES = ["the red car", "a round sign with the number"]


def look(tiny_piza, tokenizer, prompts):
    from piza.methods.context import zoom_embedding
    from piza.model import grounder

    ids, mask, pooling = Prompter(tokenizer)(prompts)
    detector = tiny_piza.detector
    with torch.no_grad(), zoom_embedding(tiny_piza.zoom(torch.zeros(len(prompts)))):
        text = grounder.encode_text(detector, ids, mask)
        torch.manual_seed(0)
        features = grounder.encode_image(detector, torch.randn(len(prompts), 3, 128, 128))
        return grounder.ground(detector, text, features), pooling


def test_the_best_of_all_columns_is_what_a_search_reads(tiny_piza, tiny_tokenizer):
    prompts = [SENTENCES, SENTENCES[:1]]
    grounding, pooling = look(tiny_piza, tiny_tokenizer, prompts)
    targets = [
        Targets(torch.eye(2), *2 * [torch.rand(2, 4)]),
        Targets(torch.ones(1, 1), *2 * [torch.rand(1, 4)]),
    ]
    found, shifted = by_sentence(grounding, pooling, targets)
    assert found.logits.shape[-1] == 3 and found.proposal_logits.shape[-1] == 3
    torch.testing.assert_close(found.logits.amax(-1), grounding.logits.amax(-1))
    torch.testing.assert_close(found.proposal_logits.amax(-1), grounding.proposal_logits.amax(-1))
    # [CLS] the red car . a round sign ...: the first sentence's tokens are 1 to 4
    torch.testing.assert_close(found.logits[:, 0, :, 1], grounding.logits[:, 0, :, 1:5].amax(-1))
    torch.testing.assert_close(found.logits[:, 0, :, 0], grounding.logits[:, 0][..., [0, -1]].amax(-1))
    assert (found.logits[:, 1, :, 2] == ABSENT).all()
    assert shifted[0].positive.tolist() == [[0, 1, 0], [0, 0, 1]] and shifted[1].positive.tolist() == [[0, 1]]


def test_the_loss_is_finite_and_quiets_the_outside(tiny_piza, tiny_tokenizer):
    from piza.training.losses import look_loss

    grounding, pooling = look(tiny_piza, tiny_tokenizer, [SENTENCES[:1]])
    grounding.logits.requires_grad_()
    box = torch.tensor([[0.4, 0.5, 0.2, 0.2]])
    found, targets = by_sentence(grounding, pooling, [Targets(torch.ones(1, 1), box, box)])
    losses = look_loss(found, targets, [(16, 16), (8, 8), (4, 4), (2, 2)])
    losses["loss"].backward()
    gradient = grounding.logits.grad
    assert torch.isfinite(losses["loss"]) and torch.isfinite(gradient).all()
    assert (gradient[..., [0, -1]] >= 0).all() and (gradient[..., [0, -1]] > 0).any()
