"""Batches of windows: sentences of one object are one target; batch norm thaws and freezes without changing the model."""

import numpy as np
import torch

from piza.data.frames import Frame
from piza.data.windows import TrainingWindow
from piza.training.batches import targets_of
from piza.training.from_scratch.base_model.batch_norm import freeze_batch_norm, thaw_batch_norm
from piza.training.from_scratch.base_model.window_batches import collate_scenes, scene_loss


def window_with(boxes_of):
    frame = Frame(np.zeros((200, 300, 3), np.uint8), [])
    window = TrainingWindow(frame, np.array([0.0, 0.0, 300.0, 200.0]), progress=0.5)
    for sentence, boxes in boxes_of:
        boxes = [np.array(box, float) for box in boxes]
        window.add(sentence, boxes, boxes)
    return window


def test_sentences_of_one_object_are_one_target():
    car, sign = [10, 10, 50, 40], [200, 100, 230, 130]
    window = window_with(
        [("the red car", [car]), ("a car", [[10.4, 10, 50, 40.3]]), ("the sign", [sign]), ("a dog", [])]
    )
    targets = targets_of(window)
    assert targets.positive.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_allclose(targets.answer[1], [215 / 300, 115 / 200, 30 / 300, 30 / 200], rtol=1e-6)


def test_a_batch_gives_finite_losses_and_gradients(tiny_piza):
    windows = [
        window_with([("the red car", [[10, 10, 50, 40]])]),
        window_with([("a dog", []), ("a sign", [])]),
    ]
    batch = collate_scenes(windows, (128, 96), np.random.default_rng(0))
    losses = scene_loss(tiny_piza, batch)
    assert all(torch.isfinite(loss) for loss in losses.values())
    losses["loss"].backward()
    grads = [p.grad for p in tiny_piza.parameters() if p.grad is not None]
    assert len(grads) > 50 and all(torch.isfinite(g).all() for g in grads)
    tiny_piza.zero_grad(set_to_none=True)


def test_batch_norm_thaws_and_freezes_without_a_change():
    from transformers import (
        BertConfig,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        ResNetConfig,
    )

    resnet = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_indices=[2, 3, 4]
    )
    bert = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, vocab_size=50
    )
    config = MMGroundingDinoConfig(
        backbone_config=resnet, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=3,
        encoder_ffn_dim=32, decoder_ffn_dim=32,
    )  # fmt: skip
    detector = MMGroundingDinoForObjectDetection(config)
    thaw_batch_norm(detector)
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(norm.weight.requires_grad for norm in norms)
    detector.train()
    pixels = torch.randn(2, 3, 64, 64)
    mask = torch.ones(2, 64, 64, dtype=torch.long)
    detector.model.backbone.conv_encoder(pixels, mask)  # the running means move
    detector.eval()
    before = detector.model.backbone.conv_encoder(pixels, mask)
    freeze_batch_norm(detector)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in detector.modules())
    after = detector.model.backbone.conv_encoder(pixels, mask)
    for (one, _), (two, _) in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
