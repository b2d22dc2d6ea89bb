"""Which images a source stands for, and in what order."""

import http.server
import io
import os
import threading

import fsspec
import numpy as np
import pytest
from fsspec.registry import known_implementations
from PIL import Image

from piza.batch import storage
from piza.batch.storage import FolderLost
from piza.errors import InputError, InputWarning
from piza.image import FORMATS, open_image
from piza.sources import addresses
from piza.sources.images import IMAGE_SUFFIXES, find_images


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path, "PNG")


def names(source, **options):
    return [os.path.basename(image.name) for image in find_images(source, **options)]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    make(folder, "b10.JPG", "b9.jpg", "A1.png", ".hidden.jpg", "more/c.webp", ".dot/d.jpg", "more/deep/e.tif")
    (folder / "notes.md").write_text("no image")
    (folder / "folder.jpg").mkdir()
    return folder


def test_a_folder_in_natural_order(photos):
    assert names(photos) == names(str(photos)) == ["A1.png", "b9.jpg", "b10.JPG"]
    assert names(photos, recursive=True) == ["A1.png", "b9.jpg", "b10.JPG", "c.webp", "e.tif"]
    assert next(find_images(photos)).name == str(photos / "A1.png")


def test_a_link_in_a_circle_ends(photos):
    (photos / "more" / "back").symlink_to(photos)
    assert len(names(photos, recursive=True)) == 5


def test_patterns(photos):
    assert names(f"{photos}/b*") == ["b9.jpg", "b10.JPG"]
    assert names(f"{photos}/*") == ["A1.png", "b9.jpg", "b10.JPG"]
    assert names(f"{photos}/**/*.[tw]*") == ["c.webp", "e.tif"]
    make(photos, "x[1].png")
    assert names(photos / "x[1].png") == ["x[1].png"]  # a name that looks like a pattern


def test_no_image_twice(photos, tmp_path):
    (tmp_path / "link.jpg").symlink_to(photos / "b9.jpg")
    given = [photos / "b9.jpg", photos, f"{photos}/*.jpg", tmp_path / "link.jpg"]
    assert names(given) == ["b9.jpg", "A1.png", "b10.JPG"]


def test_a_text_file_of_names(photos, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text(
        f"photos/b10.JPG\n\n  photos/gone.jpg \r\n{photos}/A1.png\nphotos/b10.JPG\n", encoding="utf-8-sig"
    )
    assert names(file) == ["b10.JPG", "gone.jpg", "A1.png"]
    assert open_image(next(find_images(file)).read()).shape == (6, 8, 3)


def test_the_name_inside_of_what_was_given(photos, tmp_path):
    (tmp_path / "list.txt").write_text("photos/more/c.webp\nhttps://host/x/y.jpg?size=3\n")
    for source, inside in (
        (photos / "more", ["c.webp", "deep/e.tif"]), (f"{photos}/*/*.webp", ["more/c.webp"]), (photos / "A1.png", ["A1.png"]),
        (tmp_path / "list.txt", ["photos/more/c.webp", "y.jpg"]),
    ):  # fmt: skip
        assert [image.inside for image in find_images(source, recursive=True)] == inside


def test_pixels_and_bytes(photos):
    array, content = np.zeros((4, 5, 3), np.uint8), (photos / "A1.png").read_bytes()
    assert [i.name for i in find_images(array)] == [i.name for i in find_images(content)] == ["image"]
    found = list(find_images(iter([array, content, Image.new("RGB", (3, 2)), photos / "A1.png"])))
    assert [open_image(i.read()).shape[:2] for i in found] == [(4, 5), (6, 8), (2, 3), (6, 8)]
    assert [i.name for i in found[:3]] == ["image-1", "image-2", "image-3"]


def test_an_iterable_is_read_as_far_as_needed(photos):
    def endless():
        number = 0
        while True:
            number += 1
            yield photos / f"{number}.jpg"

    images = find_images(endless())
    assert [next(images).name for _ in range(3)][-1].endswith("3.jpg")


@pytest.mark.parametrize("name", ["gone.jpg", "gone", "a\0b.jpg", "x" * 5000])
def test_a_name_of_nothing(photos, name):
    with pytest.raises(InputError, match="does not exist"):
        list(find_images(name))
    lost, there = find_images([name, photos / "A1.png"])  # of several, it is told when its turn comes
    assert lost.name == name and open_image(there.read()).size
    with pytest.raises(InputError):
        list(find_images([name], strict=True))


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("\n\n")
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\xfa")
    for source, said in (
        ("empty", "holds no image"), ("*.jpg", "matches no image"), ("none.txt", "holds no name"), ("odd.txt", "UTF-8"),
        ("cabbage://a/b.jpg", "cannot be reached"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said) as caught:
            list(find_images(source if "://" in source else str(tmp_path / source)))
        assert "\n" not in str(caught.value)


def test_addresses(photos):
    system = fsspec.filesystem("memory")
    content = (photos / "A1.png").read_bytes()
    for name in ("bucket/2.png", "bucket/10.PNG", "bucket/.3.png", "bucket/deep/4.png", "bucket/5.md"):
        system.pipe(f"/{name}", content)
    try:
        assert names("memory://bucket") == ["2.png", "10.PNG"]
        assert names("memory://bucket", recursive=True) == ["2.png", "10.PNG", "4.png"]
        assert names("memory://bucket/*.png") == ["2.png"]
        (image,) = find_images("memory://bucket/2.png")
        assert image.name == "memory://bucket/2.png" and open_image(image.read()).shape == (6, 8, 3)
        assert [i.inside for i in find_images("memory://bucket", recursive=True)][2] == "deep/4.png"
        (lost,) = find_images("memory://bucket/9.png")
        with pytest.raises(InputError, match="does not exist"):
            lost.read()
        with pytest.raises(InputError, match="holds no image"):
            list(find_images("memory://bucket/*.webp"))
    finally:
        system.rm("/bucket", recursive=True)


def test_a_closed_folder_is_told_where_others_match(photos, monkeypatch):
    may_read = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).endswith("more") and may_read(path, mode)
    )
    with pytest.warns(InputWarning, match="left out the folder .*more"):
        assert list(find_images(str(photos / "**" / "*.png")))


def test_a_file_behind_an_address_may_have_brackets_in_its_name():
    system = fsspec.filesystem("memory")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "PNG")
    system.pipe("/brackets/img[1].png", buffer.getvalue())
    try:
        [found] = find_images("memory://brackets/img[1].png")
        assert open_image(found.read()).shape == (6, 8, 3)
        assert [one.inside for one in find_images("memory://brackets/*.png")] == ["img[1].png"]
    finally:
        system.rm("/brackets", recursive=True)


class Web:
    """As fsspec's web: whatever fails, the file is not there; the cause of that tells."""

    protocol = ("http", "https")

    def __init__(self, cause):
        self.cause = cause

    def open(self, path, mode):
        raise FileNotFoundError(path) from self.cause


@pytest.mark.parametrize("cause", [ConnectionRefusedError("no server"), TimeoutError("slow")])
def test_a_web_server_that_does_not_answer_is_no_missing_file(monkeypatch, cause):
    monkeypatch.setattr(addresses, "reach", lambda address: (Web(cause), address))
    with pytest.raises(InputError, match=f"'http://h/a.jpg' cannot be read: .*{cause}"):
        addresses.fetch("http://h/a.jpg")
    answered = OSError("Not Found")
    answered.status = 404
    for missing in (FileNotFoundError("404"), answered):
        monkeypatch.setattr(addresses, "reach", lambda address, missing=missing: (Web(missing), address))
        with pytest.raises(InputError, match="does not exist"):
            addresses.fetch("http://h/a.jpg")


@pytest.mark.parametrize("status, error", [(None, FolderLost), (503, FolderLost), (403, InputError)])
def test_a_web_folder_without_a_server_ends_a_batch_and_one_file_does_not(monkeypatch, status, error):
    cause = OSError("the cause")
    cause.status = status
    monkeypatch.setattr(storage, "reach", lambda address: (Web(cause), address))
    monkeypatch.setattr(storage, "PAUSES", ())
    with pytest.raises(InputError, match="the cause") as refused:
        storage.RemoteFolder("http://h/photos").image("a.jpg")
    assert refused.type is error


@pytest.mark.parametrize("source", [None, 3, [], io.BytesIO(b"\xff\xd8")])
def test_what_can_hold_no_image(source):
    with pytest.raises(InputError, match="expected images"):
        list(find_images(source))


def test_an_address_on_the_web(photos):
    pytest.importorskip("aiohttp", reason="fsspec reads the web by aiohttp")
    handler = type(
        "Quiet",
        (http.server.SimpleHTTPRequestHandler,),
        {
            "__init__": lambda self, *a: http.server.SimpleHTTPRequestHandler.__init__(
                self, *a, directory=str(photos)
            ),
            "log_message": lambda *_: None,
        },
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        there, lost = find_images([f"{address}/A1.png?size=full", f"{address}/gone.png"])
        assert open_image(there.read()).shape == (6, 8, 3)
        with pytest.raises(InputError, match="does not exist"):
            lost.read()
        server.shutdown()


def test_a_bucket(photos, monkeypatch):
    pytest.importorskip("s3fs", reason="fsspec reads S3 by s3fs")
    moto = pytest.importorskip("moto.server", reason="moto is the S3 of this test")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("ENDPOINT_URL", address)):
            monkeypatch.setenv(f"AWS_{name}", value)
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        for name in ("photos/2.png", "photos/10.png", "photos/deep/3.png", "photos/notes.md"):
            system.pipe(f"bucket/{name}", (photos / "A1.png").read_bytes())
        assert names("s3://bucket/photos") == ["2.png", "10.png"]
        assert names("s3://bucket/photos/", recursive=True) == ["2.png", "10.png", "3.png"]
        (image,) = find_images("s3://bucket/photos/1*.png")
        assert image.name == "s3://bucket/photos/10.png" and open_image(image.read()).shape == (6, 8, 3)
        (lost,) = find_images("s3://bucket/photos/9.png")
        with pytest.raises(InputError, match="does not exist"):
            lost.read()
        with pytest.raises(InputError, match="holds no image"):
            list(find_images("s3://another/photos/*.png"))
    finally:
        server.stop()


def test_an_address_without_its_package(monkeypatch):
    known = {"class": "not_installed.Files", "err": "Install not_installed to read these files"}
    monkeypatch.setitem(known_implementations, "elsewhere", known)
    with pytest.raises(InputError, match="cannot be reached without a package: Install not_installed"):
        list(find_images("elsewhere://bucket/photos/"))


def test_the_suffixes_are_those_of_formats_that_are_read():
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    assert IMAGE_SUFFIXES <= known and {".jpg", ".png", ".webp", ".avif"} <= IMAGE_SUFFIXES
