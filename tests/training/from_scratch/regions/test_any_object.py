"""What the list is taught of things without a category: which boxes count, which cells answer for them, and that it learns."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from piza.model.nanodet_proposals import NanoDetProposals
from piza.training.from_scratch.regions import any_object
from piza.training.from_scratch.regions.any_object import (
    NamedCrop,
    assigned,
    cell_weights,
    loss_of,
    named_boxes,
    whole_pixels,
)


def lines(path: Path, *contents: object) -> Path:
    path.write_text("".join(json.dumps(content) + "\n" for content in contents))
    return path


def test_what_people_named_and_of_doubles_the_box_that_a_person_drew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(any_object, "read_photos", lambda work, part: [])
    key = "unsplash/a.jpg"
    regions = [
        [10.2, 10.1, 30.4, 30.3, "front wheel of a van"],
        [50.0, 50.5, 70.0, 70.0, "-"],
        [80.5, 10.0, 99.0, 30.0, "patch of gray fog"],
    ]
    named = lines(tmp_path / "named.jsonl", {"key": key, "size": [100, 100], "regions": regions})
    written = lines(
        tmp_path / "written.jsonl",
        {"key": key, "xyxy": [10, 10, 30, 30], "sentence": "The front wheel of the van."},
        {"key": key, "xyxy": None, "sentence": "The red bus."},
    )
    found = named_boxes(tmp_path, [named], [written])[key]
    assert found.boxes.tolist() == [[10, 10, 30, 30], [50.0, 50.5, 70.0, 70.0]]
    assert found.kinds.tolist() == [[1, 1], [0, 0]]  # a thing, drawn by a person; nothing
    assert found.unclear.tolist() == [[80.5, 10.0, 99.0, 30.0]]  # of scenery nothing is said


def test_whole_pixels_are_those_of_a_person() -> None:
    assert whole_pixels([1.0, 2, 3, 4]) and not whole_pixels([1.0, 2, 3, 4.5])


def test_the_cell_whose_box_fits_answers_and_an_empty_box_is_nobodys() -> None:
    boxes = torch.tensor([[0.25, 0.5, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]])
    centers = torch.tensor([[0.25, 0.5], [0.27, 0.5], [0.75, 0.5]])
    overlap = torch.tensor([[0.9, 0.0], [0.5, 0.0], [0.0, 0.9]])
    found = assigned(torch.zeros(3), overlap, boxes, torch.tensor([True, False]), centers)
    assert sorted(found.cells.tolist()) == [0, 1] and found.owner.tolist() == [0, 0]
    assert found.quality[found.cells == 0] == pytest.approx(0.9) and found.quality[found.cells == 1] < 0.2


def test_cells_of_an_empty_box_are_surely_nothing_and_others_hardly() -> None:
    sample = NamedCrop(
        np.zeros((32, 32, 3), np.uint8),
        np.array([[0, 0, 8, 8], [16, 16, 24, 24]], np.float32),
        np.array([[0, 0], [1, 1]], np.float32),
        np.array([[24, 0, 32, 8]], np.float32),
    )
    centers = torch.tensor([[4.0, 4.0], [20.0, 20.0], [28.0, 4.0], [4.0, 28.0]])
    overlap = torch.tensor([[0.8, 0.0], [0.0, 0.8], [0.0, 0.0], [0.0, 0.0]])
    weights = cell_weights(sample, overlap, torch.tensor([False, True]), centers)
    assert weights.tolist() == pytest.approx([1.0, 0.0, 0.0, any_object.UNNAMED])


@pytest.fixture
def network(tiny_tokenizer) -> NanoDetProposals:
    from tests.conftest import tiny_detector

    torch.manual_seed(0)
    return NanoDetProposals(tiny_detector(num_feature_levels=3), 4, 3, count=9, layers=1, regions=False)


def test_a_fresh_head_changes_nothing(network: NanoDetProposals) -> None:
    with torch.no_grad():
        found = network(torch.randn(1, 3, 64, 64))
    assert torch.equal(found.object_logits, found.category_logits.amax(-1))


def test_what_it_adds_decides_what_is_listed_and_leaves_categories(network: NanoDetProposals) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    network.count = 2
    with torch.no_grad():
        before = network(pixels)
        coarse = network.any_object[2].leave
        assert coarse.bias is not None
        coarse.bias[0] = 50.0  # all cells of the coarsest level, the last four of 84
        after = network(pixels)
    assert (after.cells >= 80).all() and not (before.cells >= 80).all()
    assert torch.equal(before.category_logits, after.category_logits)
    assert torch.equal(before.cell_logits, after.cell_logits)


def test_a_few_steps_lift_a_thing_that_has_no_category(network: NanoDetProposals) -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    image[24:40, 24:40] = (250, 30, 30)
    sample = NamedCrop(
        image,
        np.array([[24, 24, 40, 40]], np.float32),
        np.ones((1, 2), np.float32),
        np.zeros((0, 4), np.float32),
    )
    learned = [p for head in network.any_object for p in head.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=5e-3)
    before = loss_of(network, [sample])["cell"].item()
    for _ in range(12):
        loss = loss_of(network, [sample])["loss"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss_of(network, [sample])["cell"].item() < before
