"""The staged forward gives the numbers of the library's own, and a batch those of each alone."""

import pytest
import torch
from tests.conftest import tiny_detector

from piza.model import grounder
from piza.model.text import Prompter

SENTENCES = [
    "the red car left of a blue sign",
    "a round sign with the number",
    "the blue car, left of the red car with a round sign, of the number",
]


def staged(detector, ids, mask, pixels, pixel_mask=None, pooling=None):
    with torch.no_grad():
        text = grounder.encode_text(detector, ids, mask)
        return grounder.ground(detector, text, grounder.encode_image(detector, pixels, pixel_mask), pooling)


@pytest.mark.parametrize("family", ["mm", "gd"])
@pytest.mark.parametrize("levels", [3, 4, 5])
def test_stages_equal_the_librarys_forward(family, levels, tiny_tokenizer):
    detector = tiny_detector(family, num_feature_levels=levels)
    ids, mask, _ = Prompter(tiny_tokenizer)([[s] for s in SENTENCES])
    pixels = torch.randn(3, 3, 96, 128)
    pixel_mask = torch.ones(3, 96, 128, dtype=torch.long)
    pixel_mask[1, :, 100:] = 0  # one padded picture
    pixel_mask[2, 64:] = 0
    with torch.no_grad():
        whole = detector(pixel_values=pixels, input_ids=ids, attention_mask=mask, pixel_mask=pixel_mask)
    ours = staged(detector, ids, mask, pixels, pixel_mask)
    torch.testing.assert_close(ours.boxes[-1], whole.pred_boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.logits[-1], whole.logits[..., : ids.shape[1]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.proposal_boxes, whole.enc_outputs_coord_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["mm", "gd"])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_batch_equals_each_alone(family, pooled, tiny_tokenizer):
    detector, prompter = tiny_detector(family), Prompter(tiny_tokenizer)
    pixels = torch.randn(3, 3, 96, 128)
    ids, mask, pooling = prompter([[s] for s in SENTENCES])
    together = staged(detector, ids, mask, pixels, pooling=pooling if pooled else None)
    for i, sentence in enumerate(SENTENCES):
        one_ids, one_mask, one_pooling = prompter([[sentence]])
        alone = staged(
            detector, one_ids, one_mask, pixels[i : i + 1], pooling=one_pooling if pooled else None
        )
        torch.testing.assert_close(together.boxes[:, i], alone.boxes[:, 0], atol=1e-5, rtol=1e-4)
        width = alone.logits.shape[-1]
        torch.testing.assert_close(together.logits[:, i, :, :width], alone.logits[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["mm", "gd"])
def test_a_window_of_fewer_cells_than_queries_has_as_many_boxes_as_cells(family, tiny_tokenizer):
    """The base models have 900 queries, and a window of 160 x 160 pixels 534 cells; the library's forward fails there."""
    detector = tiny_detector(family, num_queries=900)
    ids, mask, _ = Prompter(tiny_tokenizer)([SENTENCES[:1]])
    found = staged(detector, ids, mask, torch.randn(1, 3, 160, 160))
    assert found.boxes.shape[2] == found.logits.shape[2] == 534 and found.boxes.isfinite().all()


def test_one_picture_serves_many_sentences(tiny_tokenizer):
    """Encoded once and repeated, as a search does for several sentences about one picture."""
    detector, prompter = tiny_detector(), Prompter(tiny_tokenizer)
    pixels = torch.randn(1, 3, 96, 128)
    ids, mask, _ = prompter([[s] for s in SENTENCES])
    with torch.no_grad():
        picture = grounder.encode_image(detector, pixels)
        text = grounder.encode_text(detector, ids, mask)
        shared = grounder.ground(detector, text, picture[[0, 0, 0]])
    separate = staged(detector, ids, mask, pixels.expand(3, -1, -1, -1))
    torch.testing.assert_close(shared.boxes, separate.boxes, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_stages_equal_forward_at_full_size():
    """Swin-T, BERT-base, 900 queries, random weights: the architecture of the real base model (172 M parameters)."""
    from transformers import BertConfig, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
    )
    config = MMGroundingDinoConfig(backbone_config=swin, text_config=BertConfig())
    detector = MMGroundingDinoForObjectDetection(config).eval()
    assert 165e6 < sum(p.numel() for p in detector.parameters()) < 180e6
    ids = torch.tensor([[101, 1996, 2417, 2482, 1012, 102]])
    pixels = torch.randn(1, 3, 256, 320)
    with torch.no_grad():
        whole = detector(pixel_values=pixels, input_ids=ids)
    ours = staged(detector, ids, torch.ones_like(ids), pixels)
    torch.testing.assert_close(ours.boxes[-1], whole.pred_boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.logits[-1], whole.logits[..., :6], atol=1e-5, rtol=1e-5)


def test_only_local_maxima_come_first_and_all_others_in_their_order():
    scores = torch.zeros(1, 4 * 6 + 2 * 3)
    scores[0, [7, 8, 16, 25]] = torch.tensor(
        [5.0, 4.0, 3.0, 2.0]
    )  # 7 and 8 are neighbors; 25 is of the second level
    local_maxima = grounder.local_maxima_only(scores, [(4, 6), (2, 3)])[0]
    behind = [cell for cell in range(30) if local_maxima[cell] != scores[0, cell]]
    assert 8 in behind and 7 not in behind and 25 not in behind
    assert (local_maxima[behind] < local_maxima.max() - grounder.BEHIND / 2).all()
    torch.testing.assert_close(local_maxima[behind] + grounder.BEHIND, scores[0, behind], atol=1e-4, rtol=0)
