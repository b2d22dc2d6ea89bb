"""Parts that share no photo, no place, no day and no look; rows merged and rid of copies; the card and the folder."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from piza.cli.main import main
from piza.data.sorec import read_values
from piza.dataset.grouping import group_photos
from piza.dataset.records import Proposal, write_records
from piza.dataset.similar_photos import BITS, SIMILAR, difference_hash, hash_photos, similar_pairs
from piza.dataset.split import split_rows
from piza.errors import InputError


def photo(path, seed, exif=None, quality=92, bright=1.0, size=(160, 120)):
    """A random smooth picture; the same seed gives the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize(
        (160, 120), Image.Resampling.BICUBIC
    )
    pixels = np.clip(np.asarray(small).astype(float) * bright, 0, 255).astype(np.uint8)
    meta = Image.Exif()
    for part, values in (exif or {}).items():
        meta.get_ifd(part).update(values)
    Image.fromarray(pixels).resize(size).save(path, quality=quality, exif=meta)


def rows_about(images, each=3, **more):
    rows = []
    for image in images:
        for n in range(each):
            row = {
                "image": image,
                "bbox": [10 + n, 20, 12, 10],
                "ref": f"The car {n} of {image}.",
                "id": len(rows) + 1,
            }
            rows.append({**row, **more})
    return rows


def write(path, rows):
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.fixture
def city(tmp_path, monkeypatch):
    """Twelve photos, of which two look like others: 0b is 0 saved again, smaller and darker; 1b is 1 moved by two pixels."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    names = [f"{n}.jpg" for n in range(10)]
    for n, name in enumerate(names):
        photo(folder / name, n)
    photo(folder / "0b.jpg", 0, quality=40, bright=0.8, size=(120, 90))
    moved = np.roll(np.asarray(Image.open(folder / "1.jpg")), 2, axis=1)
    Image.fromarray(moved).save(folder / "1b.jpg")
    names += ["0b.jpg", "1b.jpg"]
    write(tmp_path / "rows.json", rows_about(names))
    return names


def split(*arguments):
    return main(["data", "split", "rows.json", "--images", "photos", "--out", "out", *arguments])


def images_of(path):
    return {row["image"] for row in read_values(path)}


def test_copies_are_similar_and_others_are_not(city):
    hashes = hash_photos(city, "photos")
    assert {frozenset(pair[:2]) for pair in similar_pairs(hashes)} == {
        frozenset(("0.jpg", "0b.jpg")),
        frozenset(("1.jpg", "1b.jpg")),
    }
    far = [(hashes[a] != hashes[b]).sum() for a in city[:10] for b in city[:10] if a < b]
    assert min(far) > 2 * SIMILAR and abs(np.mean(far) - BITS / 2) < BITS / 8
    assert difference_hash("photos/0.jpg").shape == (BITS,)


def test_parts_share_no_photo_and_no_look(city):
    for seed in range(8):
        assert split("--parts", "train=2,val=1,test=1", "--seed", str(seed), "--out", f"o{seed}") == 0
        parts = [images_of(f"o{seed}/{name}.json") for name in ("train", "val", "test")]
        assert set.union(*parts) == set(city) and sum(map(len, parts)) == len(city)
        for pair in (("0.jpg", "0b.jpg"), ("1.jpg", "1b.jpg")):
            assert any(set(pair) <= part for part in parts)
        assert [len(part) for part in parts] == [6, 3, 3]
    assert len({json.dumps(sorted(images_of(f"o{seed}/test.json"))) for seed in range(8)}) > 1
    assert split("--parts", "train=2,val=1,test=1", "--seed", "3") == 0
    assert open("out/test.json").read() == open("o3/test.json").read()
    told = json.load(open("out/split.json"))
    assert told["together"] == [["0.jpg", "0b.jpg"], ["1.jpg", "1b.jpg"]] and told["part_of"].keys() == set(
        city
    )
    assert Counter(told["part_of"].values()) == {"train": 6, "val": 3, "test": 3}


def test_without_looking_for_similar_ones_they_part(city):
    apart = [
        split_rows(read_values("rows.json"), "photos", {"a": 1, "b": 1}, seed=seed, similar=None).part_of
        for seed in range(10)
    ]
    assert any(parts["0.jpg"] != parts["0b.jpg"] for parts in apart)


def test_rows_stay_as_they_are(city):
    assert split("--parts", "train=1,test=1") == 0
    both = read_values("out/train.json") + read_values("out/test.json")
    assert sorted(both, key=lambda row: row["id"]) == read_values("rows.json")


def test_sorec_layout(city, capsys):
    rows = rows_about(city, 4)
    for n, row in enumerate(rows):
        row["category"] = ("car", "bench", "traffic light", "flag")[n % 4]
    write(Path("rows.json"), rows)
    assert split() == 0
    small, large, val, a, b = (
        read_values(f"out/{name}.json") for name in ("trainS", "trainL", "val", "testA", "testB")
    )
    assert 0 < len(small) < len(large) and all(row in large for row in small)
    assert {row["category"] for row in a} == {"car", "traffic light"}
    assert {row["category"] for row in b} == {"bench", "flag"}
    assert images_of("out/testA.json") == images_of("out/testB.json")
    assert not images_of("out/testA.json") & (images_of("out/trainL.json") | images_of("out/val.json"))
    assert len(large) + len(val) + len(a) + len(b) == len(rows)
    assert abs(len(large) / len(rows) - 0.614) < 0.1


def test_sorec_layout_needs_categories_which_records_know(city, capsys):
    assert split() == 2
    assert "row 1 has no 'category'" in capsys.readouterr().err
    proposals = [
        Proposal(f"{name}{n}", name, 160, 120, (x, 20.4, 12.0, 10.0), kind, 1.0, "m", (), "")
        for name in city
        for n, (x, kind) in enumerate(((10.3, "car"), (12.2, "bench")))
    ]
    write_records("p.jsonl", proposals)
    assert split("--records", "p.jsonl") == 0
    assert {(r["bbox"][0], r["category"]) for r in read_values("out/trainL.json")} == {
        (10, "car"), (11, "car"), (12, "bench"),
    }  # fmt: skip
    card = open("out/README.md").read()
    assert "car 24, bench 12 (rows)" in card


def test_by_place_of_folders_patterns_and_positions(tmp_path):
    folder = tmp_path / "photos"
    for n, name in enumerate(["north/1.jpg", "north/2.jpg", "south/1.jpg"]):
        photo(folder / name, n)
    names = ["north/1.jpg", "south/1.jpg", "north/2.jpg"]
    groups = [g.images for g in group_photos(names, folder, "place")]
    assert groups == [["north/1.jpg", "north/2.jpg"], ["south/1.jpg"]]
    groups = [g.images for g in group_photos(names, folder, "place", pattern=r"/(\d)")]
    assert groups == [["north/1.jpg", "south/1.jpg"], ["north/2.jpg"]]
    with pytest.raises(InputError, match="fits nothing in the name of the photo 'north/1"):
        group_photos(names, folder, "place", pattern="west")
    with pytest.raises(InputError, match="no regular expression"):
        group_photos(names, folder, "place", pattern="(")

    def at(latitude, longitude, refs="NE"):
        keys = {
            name: ExifTags.GPS[f"GPS{name}"]
            for name in ("Latitude", "Longitude", "LatitudeRef", "LongitudeRef")
        }
        degrees = [(int(v), int(v % 1 * 60), round(v % 1 * 60 % 1 * 60, 4)) for v in (latitude, longitude)]
        values = dict(zip(keys.values(), [*degrees, *refs]))
        return {ExifTags.IFD.GPSInfo: values}

    # A chain of steps of 89 m; the fifth is 1.1 km north, the sixth on the other side of the equator.
    for n, place in enumerate([(50.0, 8.0), (50.0008, 8.0), (50.0016, 8.0), (50.0115, 8.0)]):
        photo(folder / f"gps{n}.jpg", 10 + n, at(*place))
    photo(folder / "gps4.jpg", 14, at(50.0, 8.0, "SE"))
    names = [f"gps{n}.jpg" for n in range(5)]
    groups = [g.images for g in group_photos(names, folder, "place")]
    assert groups == [names[:3], ["gps3.jpg"], ["gps4.jpg"]]
    assert len(group_photos(names, folder, "place", near=80)) == 5
    photo(folder / "nowhere.jpg", 20)
    with pytest.raises(InputError, match=r"nothing tells where the photo 'nowhere\.jpg'"):
        group_photos([*names, "nowhere.jpg"], folder, "place")


def test_by_time_keeps_days_and_order(tmp_path):
    folder = tmp_path / "photos"

    def taken(text):
        return {ExifTags.IFD.Exif: {ExifTags.Base.DateTimeOriginal: text}}

    photo(folder / "x.jpg", 0, taken("2026:05:02 23:59:00"))
    photo(folder / "a.jpg", 1, taken("2026:05:02 08:00:00"))
    photo(folder / "IMG_20260503_120000.jpg", 2)
    photo(folder / "2026-05-01.jpg", 3)
    names = ["x.jpg", "IMG_20260503_120000.jpg", "a.jpg", "2026-05-01.jpg"]
    groups = group_photos(names, folder, "time")
    assert [g.images for g in groups] == [["2026-05-01.jpg"], ["a.jpg", "x.jpg"], ["IMG_20260503_120000.jpg"]]
    done = split_rows(rows_about(names), folder, {"train": 3, "test": 1}, by="time", seed=7)
    assert {row["image"] for row in done.parts["test"]} == {"IMG_20260503_120000.jpg"}
    done = split_rows(rows_about(names), folder, {"a": 100, "b": 1, "c": 1}, by="time")
    assert [len(rows) for rows in done.parts.values()] == [3, 6, 3]
    photo(folder / "1234567890123.jpg", 4)
    with pytest.raises(InputError, match="nothing tells when"):
        group_photos(["1234567890123.jpg"], folder, "time")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "train=8,val"], "NAME=SHARE"),
        (["--parts", "train=0"], "NAME=SHARE"),
        (["--parts", "a=1,a=2"], "NAME=SHARE"),
        (["--parts", "../x=1"], "NAME=SHARE"),
        (
            ["--parts", ",".join(f"p{n}=1" for n in range(11))],
            "11 parts need as many groups of photos, but these 12 photos make 10",
        ),
        (["--parts", "a=1,b=1", "--by", "place"], "nothing tells where"),
        (["--parts", "a=1,b=1", "--embed"], "--huggingface"),
        (["--parts", "a=1,b=1", "--made-with", "none.jsonl"], r"none.jsonl.settings.json"),
        (["--parts", "a=1,b=1", "--records", "rows.json"], "line 1: expected a record"),
    ],
)
def test_command_line_refuses(city, tmp_path, capsys, arguments, message):
    assert split(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_photos_that_vanished_and_other_parts_in_the_folder(city, tmp_path, capsys):
    assert split("--parts", "train=1,test=1") == 0
    assert split("--parts", "train=1,val=1") == 2
    assert "'test.json', which is no part of this split" in capsys.readouterr().err
    (tmp_path / "photos/3.jpg").unlink()
    assert split("--parts", "train=1,test=1") == 2
    assert "3.jpg" in capsys.readouterr().err


def test_card_says_what_is_known(city, tmp_path):
    (tmp_path / "d.jsonl.settings.json").write_text('{"with": "model|x", "count": 2}')
    (tmp_path / "agreement.json").write_text(
        '{"kappa": 0.8, "agreement": [{"who": ["Ada", "Bob"], "sentences": 20, "same": 0.9, "kappa": 0.75, "iou": null}]}'
    )
    more = [
        "--title",
        "My city",
        "--license",
        "cc-by-4.0",
        "--made-with",
        "d.jsonl",
        "--agreement",
        "agreement.json",
    ]
    assert split("--parts", "train=1,test=1", *more) == 0
    card = open("out/README.md").read()
    for words in (
        'pretty_name: "My city"',
        'license: "cc-by-4.0"',
        "| d.jsonl | with | model/x |",
        "| kappa | 0.8 |",
        "# My city",
    ):
        assert words in card
    assert "sentences 20, same 0.9, kappa 0.75, iou null" in card and "Ada" not in card
    assert "| all | 36 | 12 | 36 |" in card and "2 groups that stay together" in card
    assert split("--parts", "train=1,test=1") == 0
    assert "not stated" in open("out/README.md").read().lower()


def test_a_file_for_the_card_that_is_not_there_is_said_not_to_be(city, capsys):
    for option, name in (("--agreement", "agreement.json"), ("--made-with", "d.jsonl")):
        assert split("--parts", "train=1,test=1", option, name) == 2
        assert "No such file" in capsys.readouterr().err


def test_folder_has_the_same_columns_in_all_parts(city):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data")
    rows = rows_about(city)
    rows[0]["bbox"], rows[1]["id"] = [10.5, 20, 12, 10], "x"
    write(Path("rows.json"), rows)
    assert split("--parts", "train=1,test=1", "--huggingface", "hf", "--embed") == 0
    schemas = [parquet.read_schema(f"hf/data/{name}-00000-of-00001.parquet") for name in ("train", "test")]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert "- split: train\n    path: data/train-*.parquet" in open("hf/README.md").read()


def test_folder_loads_with_datasets(city, tmp_path):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    assert split("--parts", "train=3,val=1,test=1", "--huggingface", "hf", "--embed", "--license", "mit") == 0
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "val", "test"}
    for name, part in loaded.items():
        rows = read_values(f"out/{name}.json")
        assert [(r["ref"], list(r["bbox"]), r["id"]) for r in part] == [
            (r["ref"], r["bbox"], r["id"]) for r in rows
        ]
        assert part[0]["image"].size == Image.open(f"photos/{rows[0]['image']}").size


def test_a_split_does_not_write_over_its_own_rows(city, tmp_path, capsys):
    (tmp_path / "parts").mkdir()
    rows = write(tmp_path / "parts" / "train.json", read_values("rows.json"))
    before = open(rows).read()
    command = [
        "data",
        "split",
        rows,
        "--images",
        "photos",
        "--parts",
        "train=1,val=1",
        "--out",
        str(tmp_path / "parts"),
    ]
    assert main(command) == 2 and "is read by the same command" in capsys.readouterr().err
    assert open(rows).read() == before


def test_a_photo_under_two_names_is_in_one_part(city):
    rows = read_values("rows.json")
    rows += [{**row, "image": f"./{row['image']}"} for row in rows]
    for seed in range(5):
        split = split_rows(rows, "photos", {"a": 1, "b": 1}, seed=seed, similar=None)
        assert all(
            part == split.part_of[f"./{image}"] for image, part in split.part_of.items() if image[0] != "."
        )


def test_a_file_of_a_step_is_no_file_of_rows(city, tmp_path, capsys):
    lines = '{"step": "check", "id": "a"}\n{"step": "check", "id": "b"}\n'
    (tmp_path / "checked.jsonl").write_text(lines)
    for command in (["split", "--images", "photos", "--out", "parts/"], ["merge", "--out", "all.json"]):
        assert main(["data", command[0], str(tmp_path / "checked.jsonl"), *command[1:]]) == 2
        assert "is a file of JSON lines of the step 'check', expected" in capsys.readouterr().err


def test_merge(city, tmp_path, capsys):
    rows = read_values("rows.json")
    a, b = write(tmp_path / "a.json", rows[:9]), write(tmp_path / "b.json", rows[6:])
    assert main(["data", "merge", a, b, "--out", "all.json"]) == 0
    assert read_values("all.json") == rows
    assert "left out 3 rows" in capsys.readouterr().err
    assert main(["data", "merge", a, b, "--out", "all.json", "--under", "city", "village/x"]) == 0
    merged = read_values("all.json")
    assert len(merged) == len(rows) + 3 and merged[0]["image"] == "city/0.jpg"
    assert merged[-1]["image"] == "village/x/1b.jpg" and [r["id"] for r in merged] == list(
        range(1, len(merged) + 1)
    )
    assert main(["data", "merge", a, a, "--out", "twice.json"]) == 0
    assert read_values("twice.json") == rows[:9]
    double = write(tmp_path / "double.json", [rows[0], rows[0], {**rows[0], "bbox": [50, 50, 5, 5]}])
    assert main(["data", "merge", double, double, "--out", "twice.json"]) == 0
    assert [row["bbox"] for row in read_values("twice.json")] == [rows[0]["bbox"], [50, 50, 5, 5]]
    other = write(tmp_path / "c.json", [{**rows[0], "bbox": [50, 50, 5, 5]}])
    before = open("all.json").read()
    for arguments, message in (
        ([a, other], "if these are two photos"),
        ([a, b, "--under", "x"], "a folder for each of the 2 files, got 1"),
        ([a, b, "--under", "..", "x"], "leads out"),
    ):
        assert main(["data", "merge", *arguments, "--out", "all.json"]) == 2
        assert message in capsys.readouterr().err
    assert open("all.json").read() == before


def test_dedupe(city, capsys):
    rows = read_values("rows.json")
    rows.append({**rows[-1], "ref": "One more.", "id": 99})  # 1b has more rows than 1
    write(Path("rows.json"), rows)
    assert main(["data", "dedupe", "rows.json", "--images", "photos", "--out", "unique.json"]) == 0
    assert images_of("unique.json") == set(city) - {"0b.jpg", "1.jpg"}
    captured = capsys.readouterr()
    assert (
        "2 of 12 photos look like another" in captured.out
        and "0.jpg is kept of 0.jpg, 0b.jpg" in captured.err
    )
    assert main(["data", "dedupe", "unique.json", "--images", "photos", "--out", "again.json"]) == 0
    assert read_values("again.json") == read_values("unique.json")
