"""Settings come from a file and from options, which win; what is wrong is named with its file and field."""

import json
import math

import pytest

from piza.config import FREE_TO_CHANGE, TrainConfig, write
from piza.errors import InputError
from piza.training.settings import RunRecord, check_folder, rows_digest, train_config, write_settings

NEEDED = {"rows": "rows.json", "images": "photos", "base": "mini", "out": "out"}


def test_a_file_reads_as_it_was_written(tmp_path):
    config = TrainConfig(**NEEDED, method="lora", options={"rank": 8}, lr=1e-3, steps=7, augment=True)
    write(config, tmp_path / "train.json")
    assert train_config({}, tmp_path / "train.json") == config


def test_yaml_reads_what_json_has(tmp_path):
    """What a training keeps in train.json, as JSON in a file of YAML and as YAML itself."""
    yaml = pytest.importorskip("yaml")
    config = TrainConfig(
        **NEEDED, options={"rank": 8}, lr=1e-30, steps=7, augment=True, answers="object", seed=3
    )
    write(config, tmp_path / "train.json")
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "same.yaml").write_text(text)
    (tmp_path / "train.yml").write_text(yaml.safe_dump(json.loads(text)))
    assert train_config({}, tmp_path / "same.yaml") == train_config({}, tmp_path / "train.yml") == config


def test_options_win_over_the_file(tmp_path):
    (tmp_path / "train.yaml").write_text("rows: rows.json\nimages: photos\nbase: mini\nlr: 2e-3\nbatch: 8\n")
    config = train_config({"out": "elsewhere", "batch": 2}, tmp_path / "train.yaml")
    assert (config.lr, config.batch, config.out, config.base) == (2e-3, 2, "elsewhere", "mini")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.json", '{"learning_rate": 1}', ("a.json", "learning_rate", "no such setting")),
        ("a.json", '{"lr": "fast"}', ("a.json", "lr", "'fast'")),
        ("a.json", '{"self": 1}', ("a.json", "self", "no such setting")),
        ("a.json", '{"lr": -1}', ("a.json", "lr", "greater than 0")),
        ("a.json", '{"batch": 2.5}', ("a.json", "batch")),
        ("a.json", '{"schedule": "linear"}', ("a.json", "schedule", "cosine")),
        ("a.json", '{"lr": NaN}', ("a.json", "lr")),
        ("a.json", '{"lr": 1', ("a.json", "JSON")),
        ("a.json", "[1, 2]", ("a.json", "list")),
        ("a.json", "[" * 100_000, ("a.json",)),
        ("a.yaml", "lr: [1,", ("a.yaml", "YAML")),
        ("a.yaml", "lr: !!python/object/apply:os.getcwd []", ("a.yaml",)),
        ("a.yaml", "1: 2", ("a.yaml", "names")),
        ("a.json", '{"lr": 1, "lr": 2}', ("a.json", "'lr' is given twice")),
        ("a.yaml", "lr: 1\nbatch: 2\nlr: 2", ("a.yaml", "'lr' is given twice")),
        ("a.yaml", "batch: 010", ("a.yaml", "batch", "'010'")),  # 8 in YAML 1.1
        ("a.yaml", "batch: 1:30", ("a.yaml", "batch", "'1:30'")),  # 90
        ("a.yaml", "batch: true", ("a.yaml", "batch")),
        ("a.yaml", "", ("a.yaml", "NoneType")),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(name, content, words, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as refused:
        train_config(NEEDED, tmp_path / name)
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="--base is needed"):
        train_config({"rows": "r", "images": "i", "out": "o"})
    with pytest.raises(InputError, match=r"gone\.yaml cannot be read"):
        train_config(NEEDED, tmp_path / "gone.yaml")


@pytest.mark.parametrize("name", ["train.json", "run.json"])
def test_a_checkpoint_whose_settings_are_gone_is_not_taken_for_this_training(name, tmp_path):
    config = TrainConfig(**{**NEEDED, "out": str(tmp_path / "out")})
    record = RunRecord(rows_digest([]), "", 1)
    write_settings(config, record)
    (tmp_path / "out" / "training" / name).unlink()
    assert not check_folder(config, record)  # killed before it began
    (tmp_path / "out" / "training" / "checkpoint.safetensors").write_bytes(b"of another one")
    with pytest.raises(InputError, match=rf"{name}' is missing, .*give another --out"):
        check_folder(config, record)


@pytest.mark.parametrize("damage", ["cut", "other type", "empty", "not text"])
@pytest.mark.parametrize("name", ["train.json", "run.json"])
def test_damaged_settings_are_refused(name, damage, tmp_path):
    config = TrainConfig(**{**NEEDED, "out": str(tmp_path / "out")})
    record = RunRecord(rows_digest([]), "", 1)
    assert not check_folder(config, record)
    write_settings(config, record)
    assert check_folder(config, record)
    file = tmp_path / "out" / "training" / name
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[:-9],
            "other type": json.dumps([json.loads(content)]).encode(),
            "empty": b"",
            "not text": b"\xff\x00" + content,
        }[damage]
    )
    with pytest.raises(InputError, match=rf"{name}.*give another folder with --out"):
        check_folder(config, record)


@pytest.mark.parametrize("name", ["train.json", "run.json"])
def test_a_field_that_is_lost_or_replaced_is_refused_by_name(name, tmp_path):
    """What is free to change may hold another value, and nothing else may."""
    config = TrainConfig(**{**NEEDED, "out": str(tmp_path / "out")})
    record = RunRecord(rows_digest([]), "", 1)
    write_settings(config, record)
    file = tmp_path / "out" / "training" / name
    sound = json.loads(file.read_text())
    for field, value in sound.items():
        file.write_text(json.dumps({other: sound[other] for other in sound if other != field}))
        with pytest.raises(
            InputError, match=rf"{name}: {field}: (the field is missing|field required); give another"
        ):
            check_folder(config, record)
        for other in (None, True, -1, 7, 0.37, math.nan, "x", [1], {"x": 1}):
            if other == value:
                continue
            file.write_text(json.dumps({**sound, field: other}))
            try:
                assert check_folder(config, record) and field in FREE_TO_CHANGE
            except InputError as error:
                assert "\n" not in str(error) and "another" in str(error)


def test_a_base_whose_files_have_changed_is_another_training(tmp_path):
    config = TrainConfig(**{**NEEDED, "out": str(tmp_path / "out")})
    write_settings(config, RunRecord(rows_digest([]), "0123", 1))
    assert check_folder(config, RunRecord(rows_digest([]), "0123", 1))
    with pytest.raises(InputError, match="begun with other files of the base"):
        check_folder(config, RunRecord(rows_digest([]), "4567", 1))
