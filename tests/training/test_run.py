"""`train_model`: what it writes can be loaded, stopping loses nothing, and what cannot be used is refused."""

import copy
import csv
import errno
import json

import pytest
import torch
from tests.training.trained import StopsAt, make_place, settings, weights

import piza
from piza.config import override
from piza.errors import InputError
from piza.files import one_writer
from piza.methods import METHODS
from piza.model.io import save_folder
from piza.model.piza import Piza
from piza.training import run, tensor_files
from piza.training.checkpoint import checkpoint_step
from piza.training.run import train_model


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_tokenizer):
    """`base`, a random GroundingDINO as transformers writes it; `rows.json` about five pictures in `photos`."""
    return make_place(tmp_path_factory.mktemp("train"), tiny_tokenizer)


@pytest.fixture(autouse=True)
def quick(place, monkeypatch):
    """The base is read once, and plots are not drawn: both take longer than a step."""
    real, name = piza.load, str(place / "base")
    if name not in BASES:
        BASES[name] = real(name)
    monkeypatch.setattr(piza, "load", lambda n, **o: copy.deepcopy(BASES[n]) if n in BASES else real(n, **o))
    monkeypatch.setattr(run, "draw_log", lambda folder, say: None)


BASES: dict[str, Piza] = {}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_writes_what_can_be_loaded(method, plain, place, tmp_path):
    out = tmp_path / "out"
    found = train_model(settings(place, out, method=method, plain=plain))
    assert (found.steps, found.stopped, found.skipped) == (2, False, 0)
    (tmp_path / "own").touch()
    modes = {path.stat().st_mode for path in out.rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "own").stat().st_mode}  # as the umask has it: colleagues can read them
    model = piza.load(str(out))
    assert model.config.method == method and model.config.method_options["condition"] is not plain
    result = model.locate(str(place / "photos" / "0.jpg"), "the red car")
    assert len(result.windows) == 1 if plain else len(result.windows) >= 1
    base = piza.load(str(place / "base"))
    names = METHODS[method].trained_names(model)
    trained, before = model.state_dict(), base.state_dict()
    ours = {id(p) for name, p in model.named_parameters() if name in names}  # heads may go by several names
    fixed = [n for n, t in model.state_dict(keep_vars=True).items() if id(t) not in ours and n in before]
    assert all(torch.equal(trained[n], before[n]) for n in fixed if n.startswith("detector."))
    moved = [name for name in names & before.keys() if not torch.equal(trained[name], before[name])]
    assert len(moved) > 0.5 * len(names & before.keys())
    with open(out / "training" / "log.csv", newline="") as file:
        assert [line["step"] for line in csv.DictReader(file)] == ["1", "2"]


def test_ctrl_c_and_going_on_equals_going_straight_through(place, tmp_path, capfd):
    """With dropout, which the tiny detector has; a second interruption in between."""
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_model(settings(place, whole, steps=7))
    first = train_model(settings(place, halved, steps=7), bar=lambda done, steps: StopsAt(1))
    assert (first.steps, first.stopped) == (2, True) and "stopping after this step" in capfd.readouterr().err
    assert not (halved / "adapter.json").exists()
    second = train_model(settings(place, halved, steps=7), bar=lambda done, steps: StopsAt(2))
    assert (second.steps, second.stopped) == (5, True)
    last = train_model(settings(place, halved, steps=7, workers=2))  # free to differ
    assert (last.steps, last.stopped) == (7, False)
    straight, resumed = weights(whole), weights(halved)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    logs = [list(csv.DictReader(open(folder / "training" / "log.csv"))) for folder in (whole, halved)]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    again = train_model(settings(place, halved, steps=7))  # nothing left to do
    assert again.steps == 7 and all(torch.equal(straight[n], t) for n, t in weights(halved).items())


def test_other_settings_and_other_rows_are_refused(place, tmp_path):
    out = tmp_path / "out"
    train_model(settings(place, out))
    before = weights(out)
    with pytest.raises(InputError, match=r"--lr 0\.0002, now it is 0\.001"):
        train_model(settings(place, out, lr=1e-3))
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(json.loads((place / "rows.json").read_text())[:4]))
    with pytest.raises(InputError, match="other rows"):
        train_model(settings(place, out, rows=str(fewer)))
    file = place / "base" / "model.safetensors"
    content = file.read_bytes()
    try:  # a fine-tuned base of the same shapes has come into the place of the old one
        file.write_bytes(content[:-4] + b"\0\0\0\0")
        with pytest.raises(InputError, match="other files of the base"):
            train_model(settings(place, out))
    finally:
        file.write_bytes(content)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out).items())


def test_two_trainings_do_not_write_to_one_folder(place, tmp_path):
    folder = tmp_path / "out" / "training"
    folder.mkdir(parents=True)
    with one_writer(folder), pytest.raises(InputError, match="another process is writing"):
        train_model(settings(place, tmp_path / "out"))
    assert not (folder / "checkpoint.safetensors").exists()
    assert train_model(settings(place, tmp_path / "out")).steps == 2


def validated(place, out, **changes):
    return settings(place, out, validate=str(place / "rows.json"), validate_limit=4, **changes)


def test_a_training_begun_meanwhile_keeps_its_settings(place, tmp_path, monkeypatch):
    first = settings(place, tmp_path / "out")
    begin = run._begin

    def late(setup):
        monkeypatch.setattr(run, "_begin", begin)
        run.write_settings(
            override(setup.config, lr=first.lr), setup.record
        )  # as another one did while this one was still reading
        begin(setup)

    monkeypatch.setattr(run, "_begin", late)
    with pytest.raises(InputError, match="was begun with --lr"):
        train_model(settings(place, tmp_path / "out", lr=0.5))
    assert train_model(first).steps == 2


def test_a_validation_that_a_kill_came_before_is_made_up(place, tmp_path):
    config = validated(place, tmp_path / "out", steps=2, validate_every=2)
    train_model(config)
    log = tmp_path / "out" / "training" / "validation.csv"
    before = log.read_text()
    log.write_text(before.splitlines(keepends=True)[0])  # the checkpoint of step 2 is there, its line is not
    train_model(config)
    assert log.read_text() == before


def test_rows_left_out_now_and_not_then_are_other_rows(place, tmp_path):
    config = settings(place, tmp_path / "out", missing="skip")
    train_model(config)
    (place / "photos" / "4.jpg").rename(place / "gone.jpg")
    try:
        with pytest.raises(InputError, match="with other rows"):
            train_model(config)
    finally:
        (place / "gone.jpg").rename(place / "photos" / "4.jpg")


def test_it_learns(place, tmp_path):
    train_model(
        settings(
            place,
            tmp_path / "out",
            method="full",
            steps=24,
            lr=2e-3,
            max_grad_norm=2.0,
            log_every=6,
            min_scale=1.0,
        )
    )
    lines = list(csv.DictReader(open(tmp_path / "out" / "training" / "log.csv")))
    assert float(lines[-1]["loss"]) < 0.85 * float(lines[0]["loss"])


@pytest.mark.parametrize(
    "changes", [{"token_pooling": "mean"}, {"precision": "bf16"}, {"optimizer": "muon"}, {"micro_batch": 1}]
)
def test_variants_run(changes, place, tmp_path):
    train_model(settings(place, tmp_path / "out", augment=True, schedule="cosine", **changes))
    assert all(torch.isfinite(t).all() for t in weights(tmp_path / "out").values())


def test_a_single_window_of_one_cell_is_a_sentence(place, tmp_path):
    with pytest.raises(InputError, match=r"pixels is too small .* larger --batch"):
        train_model(settings(place, tmp_path / "out", batch=1, plain=True, first_pixels=64))


def test_merged_lora_is_a_model_of_its_own(place, tmp_path):
    train_model(settings(place, tmp_path / "out", method="lora", plain=True, merge=True))
    assert not (tmp_path / "out" / "adapter.json").exists()
    assert piza.load(str(tmp_path / "out")).config.method == "full"


def test_an_adapter_can_be_trained_on(place, tmp_path):
    train_model(settings(place, tmp_path / "one", method="lora"))
    train_model(settings(place, tmp_path / "two", method="lora", base=str(tmp_path / "one")))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys() and not all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(one["history.project.weight"], two["history.project.weight"])  # it has one already
    piza.load(str(tmp_path / "two"))
    with pytest.raises(InputError, match="only be trained on with --method lora"):
        train_model(settings(place, tmp_path / "three", method="coop", base=str(tmp_path / "one")))


def test_the_embedded_model_is_trained_on(place, tmp_path):
    plain = piza.load("mini").state_dict()
    train_model(settings(place, tmp_path / "out", base="mini"))
    model = piza.load(str(tmp_path / "out"))
    names = METHODS["adapter_plus"].trained_names(model)
    listing = {name for name, _ in model.named_parameters() if name.startswith(("proposals.", "matcher."))}
    differ = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, plain[name])}
    assert differ <= names | listing
    # Of words, only those that were met.
    assert len(differ & names) > 0.9 * len(names) and len(differ & listing) > 0.9 * len(listing)
    with open(tmp_path / "out" / "training" / "log.csv", newline="") as file:
        line = next(csv.DictReader(file))
    assert float(line["list_which"]) > 0 and float(line["list_object"]) > 0
    for wrong in ({"method": "lora"}, {"method": "adapter_plus", "plain": True}):
        with pytest.raises(InputError, match="has adapters already"):
            train_model(settings(place, tmp_path / "no", base="mini", **wrong))
    assert not (tmp_path / "no").exists()


def test_a_first_look_that_lists_objects_learns(place, tmp_path, tiny_listing_piza):
    save_folder(tiny_listing_piza, tmp_path / "base")
    out = tmp_path / "out"
    common = dict(base=str(tmp_path / "base"), method="full", lr=3e-3, max_grad_norm=2.0, schedule="cosine")
    train_model(settings(place, out, steps=40, crops_per_image=1, batch=5, log_every=8, **common))
    lines = list(csv.DictReader(open(out / "training" / "log.csv")))
    for name in ("list_which", "list_object"):
        assert float(lines[-1][name]) < 0.7 * float(lines[0][name]), name
    model = piza.load(str(out))
    result = model.locate(str(place / "photos" / "0.jpg"), "The red car.", max_looks=1)
    assert model.config.num_proposals == 9 and len(result.windows) == 1


def test_missing_and_damaged_pictures(place, tmp_path):
    rows = json.loads((place / "rows.json").read_text())
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg"):  # and no 4.jpg
        content = (place / "photos" / name).read_bytes()
        (photos / name).write_bytes(content[: len(content) // 2] if name == "1.jpg" else content)
    there = tmp_path / "there.json"
    there.write_text(json.dumps([row for row in rows if row["image"] != "4.jpg"]))
    with pytest.raises(InputError, match=r"4\.jpg"):
        train_model(settings(place, tmp_path / "a", images=str(photos)))
    with pytest.raises(InputError, match=r"1\.jpg.*damaged") as refused:
        train_model(settings(place, tmp_path / "b", images=str(photos), rows=str(there), steps=6))
    assert "Traceback" not in str(refused.value)
    logged = []
    found = train_model(
        settings(place, tmp_path / "c", images=str(photos), missing="skip", steps=6), logged.append
    )
    assert found.skipped == 2 and found.replaced > 0 and found.steps == 6
    assert any("left out 2 of 10 rows" in text for text in logged)


def test_a_full_disk_loses_nothing(place, tmp_path, monkeypatch):
    config = settings(place, tmp_path / "out", steps=5, save_every=0.0, log_every=1)
    full = {"now": False}
    real = tensor_files.save_file

    def save_file(tensors, path, metadata=None):
        if full["now"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, metadata=metadata)

    monkeypatch.setattr(tensor_files, "save_file", save_file)

    class Fills(StopsAt):
        def update(self, n):
            self.left -= 1
            full["now"] = self.left == 0  # for one step, then there is room again

    logged = []
    train_model(config, logged.append, lambda done, steps: Fills(2))
    assert sum("cannot be written" in text and "that of step 2 stands" in text for text in logged) == 1
    straight = weights(tmp_path / "out")

    class StaysFull(StopsAt):
        def update(self, n):
            self.left -= 1
            full["now"] = self.left <= 0

    config = override(config, out=str(tmp_path / "again"))
    with pytest.raises(InputError, match="that of step 3 stands, and the same command goes on"):
        train_model(config, bar=lambda done, steps: StaysFull(3))
    full["now"] = False
    assert checkpoint_step(tmp_path / "again" / "training") == 3
    train_model(config)
    assert all(torch.equal(straight[name], tensor) for name, tensor in weights(tmp_path / "again").items())


def test_validation_on_the_way(place, tmp_path):
    logged = []
    config = validated(place, tmp_path / "out", steps=4, validate_every=3)
    train_model(config, logged.append)
    lines = list(csv.DictReader(open(tmp_path / "out" / "training" / "validation.csv")))
    assert [(line["step"], line["rows"]) for line in lines] == [("3", "4"), ("4", "4")]
    assert sum(text.startswith("step") for text in logged) == 2
    unwatched = settings(place, tmp_path / "other", steps=4)
    train_model(unwatched)  # validation changes nothing
    assert all(torch.equal(weights(tmp_path / "out")[n], t) for n, t in weights(tmp_path / "other").items())


def test_the_box_history_encoder_is_trained_first(place, tmp_path):
    train_model(settings(place, tmp_path / "out", history_steps=150))
    model = piza.load(str(tmp_path / "out"))
    frame, target = [0, 0, 320, 240], [100, 100, 18, 14]
    _, stop = model.history.read([[frame], [frame, [60, 60, 120, 120], target]])
    assert stop[1] > stop[0] + 0.25


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "magic"}, "magic"),
        ({"rows": "gone.json"}, "does not exist"),
        ({"images": "gone"}, "gone"),
        ({"base": "no such base"}, "no such base"),
        ({"method": "coop", "merge": True}, "cannot be merged"),
        ({"method": "lora", "merge": True}, "--plain"),
        ({"options": {"rank": 8}}, "no option 'rank'"),
        ({"method": "lora", "options": {"rank": "many"}}, "rank"),
        ({"method": "lora", "options": {"rank": 0}}, "rank"),
        ({"lr": -1.0}, "lr: expected a number greater than 0"),
        ({"lr": float("nan")}, "lr: expected a finite number"),
        ({"steps": 0}, "steps: "),
        ({"min_scale": 0.0}, "min_scale: "),
        ({"device": "abacus"}, "abacus"),
        ({"tracker": "paper"}, "paper"),
        ({"validate_every": 3}, "--validate"),
        ({"validate": "gone.json"}, "gone.json"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(changes, message, place, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message):
        train_model(settings(place, out, **changes))
    assert not out.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "no rows"),
        ({"image": "0.jpg"}, "list of rows"),
        (
            [{"image": "0.jpg", "bbox": [9000, 1, 9, 9], "ref": "the car", "id": 7}],
            "of 1 boxes 1 leave their image",
        ),
        ([{"image": "0.jpg", "bbox": [1, 1, 9, 9], "ref": "car " * 300}], "at most 256"),
    ],
)
def test_bad_rows_are_refused(content, message, place, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        train_model(settings(place, tmp_path / "out", rows=str(tmp_path / "rows.json")))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_written_to(place, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="new or empty folder"):
        train_model(settings(place, tmp_path / "out"))
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write"):
            train_model(settings(place, out))
