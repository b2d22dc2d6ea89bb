"""Validation in several processes is that of one."""

import json

import pytest
from tests.batch.fake_model import FakeModel, make_image

from piza.config import TrainConfig
from piza.data.sorec import read_rows
from piza.errors import InputError
from piza.evaluation.run import evaluate
from piza.training.validation import accuracies, evaluate_share


@pytest.fixture
def place(tmp_path):
    """Seven rows about four images, those of an image not side by side."""
    rows = []
    for number, image in enumerate("abcadbc"):
        make_image(tmp_path / f"{image}.png", (320, 240) if image in "ab" else (400, 240))
        rows.append(
            {"image": f"{image}.png", "bbox": [80, 60, 80, 60], "ref": f"thing {number}", "id": number}
        )
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path


def config(place, **changes):
    return TrainConfig(
        rows="", images=str(place), base="", out="", validate=str(place / "rows.json"), **changes
    )


@pytest.mark.parametrize("processes", [2, 3, 6])
@pytest.mark.parametrize("limit", [None, 5])
def test_shares_together_are_the_whole(processes, limit, place):
    model, rows, given = FakeModel(), read_rows(place / "rows.json"), config(place, validate_limit=limit)
    shares = [evaluate_share(model, rows, given, processes, process) for process in range(processes)]
    asked = [{outcome.row.image for outcome in share.outcomes} for share in shares]
    assert sum(map(len, asked)) == len(set().union(*asked))  # no image in two of them
    whole = evaluate(model, rows, place, limit=limit)
    together = sorted((o for share in shares for o in share.outcomes), key=lambda o: o.index)
    assert [(o.index, o.row.id, o.box_xyxy) for o in together] == [
        (o.index, o.row.id, o.box_xyxy) for o in whole.outcomes
    ]
    found = accuracies(shares, "error")
    assert found == accuracies([evaluate_share(model, rows, given)], "error")
    assert found["rows"] == (limit or 7) and 0 < found["acc75"] == round(whole.acc75, 2) < 100


def test_what_one_cannot_read_is_an_error_in_all(place):
    rows = read_rows(place / "rows.json")
    (place / "b.png").write_bytes(b"no image")
    shares = [evaluate_share(FakeModel(), rows, config(place), 2, process) for process in range(2)]
    with pytest.raises(InputError, match=r"b\.png"):
        accuracies(shares, "error")
    skipping = config(place, missing="skip")
    shares = [evaluate_share(FakeModel(), rows, skipping, 2, process) for process in range(2)]
    assert accuracies(shares, "skip")["rows"] == 5
