"""Proposals by models of transformers: their own classes with random weights, saved, loaded and run by their own pipelines."""

import numpy as np
import pytest
import torch
from PIL import Image

from piza.cli.main import main
from piza.dataset import pipelines
from piza.dataset.candidates import Candidate, tiled
from piza.dataset.pipelines import MASK_SIDE, mask_segmenter, zero_shot_detector
from piza.dataset.records import Proposal, read_records
from piza.errors import InputError

SIDE = 64  # of what the small segmenters see
POINTS = 6
HAS_TORCHVISION = bool(__import__("importlib.util").util.find_spec("torchvision"))


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr(pipelines, "POINTS", POINTS)


def sure(model):
    """A random segmenter whose masks pass for good ones: sharp, and of a high score."""
    head = model.mask_decoder.iou_prediction_head
    head.proj_out.weight.data.zero_()
    head.proj_out.bias.data.fill_(4.0 if getattr(head, "sigmoid_output", False) else 0.95)
    for network in model.mask_decoder.output_hypernetworks_mlps:
        network.proj_out.weight.data *= 1e4
        network.proj_out.bias.data.normal_(0, 1e4)
    return model


def sam_processor():
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    small = {"height": SIDE, "width": SIDE}
    return SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=small)


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """The folder of a random SAM."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    sides = dict(image_size=SIDE, patch_size=16)
    config = SamConfig(
        vision_config=dict(
            hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, num_pos_feats=8, mlp_dim=32,
            window_size=0, global_attn_indexes=[0], **sides,
        ),
        prompt_encoder_config=dict(hidden_size=16, mask_input_channels=4, **sides),
        mask_decoder_config=dict(
            hidden_size=16, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("sam")
    sure(SamModel(config)).save_pretrained(folder)
    sam_processor().save_pretrained(folder)
    return folder


def picture(width=100, height=75):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@torch.inference_mode()
def boxes_by_hand(folder, image):
    """The boxes of the masks of one point in the middle of each of POINTS x POINTS parts of an image, by the model alone."""
    from transformers import SamModel

    model = SamModel.from_pretrained(folder).eval()
    height, width = image.shape[:2]
    inputs = sam_processor()(images=Image.fromarray(image), return_tensors="pt")
    down, across = inputs["reshaped_input_sizes"][0].tolist()
    at = (torch.arange(POINTS) + 0.5) / POINTS
    points = torch.stack([at.repeat(POINTS) * across, at.repeat_interleave(POINTS) * down], -1)
    answer = model(inputs["pixel_values"], input_points=points[None, :, None])
    masks = (
        sam_processor()
        .post_process_masks(
            answer.pred_masks, [(height, width)], inputs["reshaped_input_sizes"].tolist(), binarize=True
        )[0]
        .flatten(0, 1)
    )
    found = set()
    for mask in masks.numpy():
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if len(rows):
            found.add((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.array(sorted(found), float)


def test_segmenter_gives_the_boxes_of_the_masks_of_a_grid_of_points(sam):
    image = picture()
    found = np.array(sorted({one.xyxy for one in mask_segmenter(str(sam))(image)}))
    expected = boxes_by_hand(sam, image)
    assert len(found) >= 5 and len(found) >= 0.8 * len(expected)  # without those of masks that are not sharp
    assert all((abs(expected - box).max(1) <= 1).any() for box in found)


def draw_discs(self, image_embeddings, input_points, **_):
    """In place of SAM's own forward: around each point a disc of a tenth of the input's side, twice, and an empty mask."""
    from types import SimpleNamespace

    at = (torch.arange(SIDE) + 0.5).expand(SIDE, SIDE)
    x, y = (input_points[0, :, 0, axis, None, None] for axis in (0, 1))
    discs = SIDE / 10 - ((at - x) ** 2 + (at.T - y) ** 2).sqrt()
    masks = 20 * torch.stack([discs, discs, -torch.ones_like(discs)], 1)[None]
    return SimpleNamespace(
        pred_masks=masks, iou_scores=torch.tensor([0.95, 0.93, 0.99]).expand(1, len(x), 3)
    ).__dict__


def test_segmenter_proposes_what_lies_at_the_points_on_the_command_line(sam, tmp_path, monkeypatch):
    from transformers import SamModel

    monkeypatch.setattr(SamModel, "forward", draw_discs)
    folder = tmp_path / "photos"
    folder.mkdir()
    width, height = 2 * MASK_SIDE, 3 * MASK_SIDE // 2
    Image.fromarray(picture(width, height)).save(folder / "a.png")
    out = tmp_path / "p.jsonl"
    command = ["data", "propose", str(folder), "--segmenter", str(sam), "--out", str(out), "--tiles", "1"]
    assert main([*command, "--max-share", "9", "--per-photo", "99"]) == 0
    found = read_records(out, Proposal)
    assert {(one.source, one.category, round(one.score, 2)) for one in found} == {(str(sam), "", 0.95)}
    centers = {(one.bbox[0] + one.bbox[2] / 2, one.bbox[1] + one.bbox[3] / 2) for one in found}
    points = [
        ((a + 0.5) / POINTS * width, (b + 0.5) / POINTS * height)
        for a in range(POINTS)
        for b in range(POINTS)
    ]
    whole = [
        (x, y) for x, y in points if 0.1 < x / width < 0.9 and 0.2 < y / height < 0.8
    ]  # others leave the photo
    assert len(found) == len(whole)
    pixel = width / SIDE  # of what SAM sees
    for x, y in whole:
        assert any(abs(x - u) < pixel / 2 and abs(y - v) < pixel / 2 for u, v in centers)
    assert all(
        abs(one.bbox[2] - width / 5) < 2 * pixel and abs(one.bbox[3] - width / 5) < 2 * pixel for one in found
    )


@pytest.fixture(scope="module")
def sam2():
    """A random SAM 2."""
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(0)
    backbone = dict(
        model_type="sam2_hiera_det_model", hidden_size=8, image_size=[128, 128], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_positional_embedding_background_size=[4, 4], window_size_per_stage=[8, 4, 8, 4],
        global_attention_blocks=[3],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=dict(
            backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16,
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        ),
        prompt_encoder_config=dict(hidden_size=16, image_size=128, patch_size=16, mask_input_channels=4),
        mask_decoder_config=dict(
            hidden_size=16, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )  # fmt: skip
    return sure(Sam2Model(config))


def test_second_version_of_the_segmenter_runs_by_the_same_steps(sam2):
    """Its own processor needs torchvision; with that of the first version, its class gives boxes inside of the image."""
    from transformers import pipeline

    processor = sam_processor()
    processor.size, processor.pad_size = {"longest_edge": 128}, {"height": 128, "width": 128}
    found = mask_segmenter(pipeline("mask-generation", model=sam2, image_processor=processor))(picture())
    assert found and all(
        0 <= x1 < x2 <= 100 and 0 <= y1 < y2 <= 75 for x1, y1, x2, y2 in (one.xyxy for one in found)
    )


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed, which this is about")
def test_second_version_by_name_says_what_it_needs(sam2, tmp_path):
    sam2.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Sam2ImageProcessorFast"}')
    with pytest.raises(InputError, match="requires the Torchvision library") as caught:
        mask_segmenter(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_answers_of_functions_in_place_of_pipelines():
    image = np.zeros((100, 200, 3), np.uint8)

    def detect(picture, candidate_labels):
        assert picture.size == (200, 100) and candidate_labels == ["sign", "red car"]
        return [{"score": 0.5, "label": "sign", "box": {"xmin": -1, "ymin": 5, "xmax": 20, "ymax": 30}}]

    assert zero_shot_detector(detect, ["sign", " red car"])(image) == [Candidate((0, 5, 20, 30), "sign", 0.5)]

    def segment(picture):
        masks = np.zeros((2, picture.height, picture.width), bool)
        masks[0, 10:20, 30:50] = True
        return {"masks": list(masks), "scores": np.array([0.9, 0.8])}

    assert mask_segmenter(segment)(image) == [Candidate((30, 10, 50, 20), "", 0.9)]
    large = np.zeros((4 * MASK_SIDE, 2 * MASK_SIDE, 3), np.uint8)  # is shown smaller, by four
    assert mask_segmenter(segment)(large) == [Candidate((120, 40, 200, 80), "", 0.9)]

    def broken(picture):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):  # a caller's own fault is not made a sentence
        mask_segmenter(broken)(image)


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    """The folder of a random OWL-ViT."""
    from transformers import CLIPTokenizer, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    torch.manual_seed(0)
    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocab = {word: i for i, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    config = OwlViTConfig(
        text_config=dict(vocab_size=54, bos_token_id=52, eos_token_id=53, pad_token_id=0, **small),
        vision_config=dict(image_size=SIDE, patch_size=16, **small),
        projection_dim=32,
    )
    model = OwlViTForObjectDetection(config)
    model.box_head.dense2.weight.data.zero_()  # boxes of a cell each
    model.class_head.logit_shift.weight.data.zero_()
    model.class_head.logit_shift.bias.data.fill_(2.0)
    folder = tmp_path_factory.mktemp("owl")
    model.save_pretrained(folder)
    pictures = OwlViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    OwlViTProcessor(pictures, CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)).save_pretrained(
        folder
    )
    return folder


def test_zero_shot_detectors_by_their_own_pipeline(owl, tmp_path, tiny_tokenizer):
    from tests.conftest import tiny_detector
    from transformers import GroundingDinoProcessor
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    look = zero_shot_detector(str(owl), ["car", "sign"])
    for seen in (look(picture()), tiled(look, 2)(picture(), "a.png")):
        assert {one.category for one in seen} <= {"car", "sign"} and len(seen) > 4
        assert all(
            0 <= one.xyxy[0] <= one.xyxy[2] <= 100 and 0 <= one.xyxy[1] <= one.xyxy[3] <= 75 for one in seen
        )
    tiny_detector("gd").save_pretrained(tmp_path)
    GroundingDinoProcessor(GroundingDinoImageProcessorPil(), tiny_tokenizer).save_pretrained(tmp_path)
    found = zero_shot_detector(str(tmp_path), ["car"])(np.full((64, 64, 3), 90, np.uint8))
    assert all(0 <= one.xyxy[0] <= one.xyxy[2] <= 64 for one in found)


def test_a_label_that_a_detector_cannot_read_is_one_sentence(owl):
    with pytest.raises(InputError, match="cannot be shown an image"):
        zero_shot_detector(str(owl), ["a very long label " * 20])(picture())


@pytest.mark.parametrize("make", [lambda d: zero_shot_detector(d, ["car"]), mask_segmenter])
def test_folder_without_a_model(tmp_path, make):
    with pytest.raises(InputError, match="is no model for"):
        make(str(tmp_path))


def test_labels_needed():
    with pytest.raises(InputError, match="names of what to look for"):
        zero_shot_detector(lambda: None, [" "])
