"""`piza data view`: one page that needs no other file, and that no sentence can break out of."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from piza.cli import main as cli
from piza.data.view import sample

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> &amp; \u202e"


class PageParser(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def place(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a&b.png", "2.png"):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(tmp_path / name)
    rows = [
        {"image": "a&b.png", "bbox": [10, 10, 5, 5], "ref": EVIL, "id": "<b>1</b>", "note": "</style><i>"},
        {"image": "2.png", "bbox": [80.5, 50, 20, 20], "ref": "The car that leaves.", "id": 2},
        {"image": "2.png", "bbox": [200, 200, 20, 20], "ref": "The car that has left.", "id": 3},
        {"image": "gone.png", "bbox": [1, 1, 2, 2], "ref": "The lost car.", "id": 4},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path


def view(place, *options):
    command = [
        "data",
        "view",
        str(place / "rows.json"),
        "--images",
        str(place),
        "--out",
        str(place / "page.html"),
    ]
    return cli.main([*command, *options])


def test_a_page(place, capsys):
    assert view(place, "--missing", "skip") == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 of 4 rows in ") and "left out 1 rows" in err
    text = (place / "page.html").read_text(encoding="utf-8")
    page = PageParser(text)
    assert page.tags.count("article") == 3 and page.tags.count("img") == 6
    assert not {"script", "i", "b", "link", "iframe", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(
        value.startswith("data:image/jpeg;base64,") for name, value in page.attributes if name == "src"
    )
    assert "http:" not in text and "https:" not in text and "default-src &#x27;none&#x27;" in text
    said = "".join(page.text)
    for shown in (
        EVIL.replace("\u202e", "\\u202e"),  # or the rest of the page would read backwards
        "<b>1</b>",
        "a&b.png",
        "90 x 60",
        "5 x 5",
        "0.46 % of the frame",
        "80.5, 50 to 100.5, 70",
    ):
        assert shown in said
    assert said.count("reaches out of its image") == 2


def test_a_missing_image(place, capsys):
    assert view(place) == 2
    assert "gone.png" in capsys.readouterr().err and not (place / "page.html").exists()


def test_the_same_seed_draws_the_same_rows(place, capsys):
    pages = []
    for seed in (1, 1, 2):
        assert view(place, "--missing", "skip", "--count", "1", "--seed", str(seed)) == 0
        pages.append((place / "page.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1] and pages[0].count("<article>") == 1
    assert len({tuple(sample(3, 100, seed)) for seed in range(5)}) == 5
    assert sample(5, 3, 0) == [0, 1, 2]


def test_no_rows_and_no_folder_to_write_to(place, capsys):
    (place / "rows.json").write_text("[]")
    assert view(place) == 2
    assert view(place, "--out", str(place / "gone" / "page.html")) == 2
    err = capsys.readouterr().err
    assert "no rows" in err and "does not exist" in err
