import io
import os
import struct
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from piza.errors import InputError
from piza.image import BACKGROUND, REDUCING_GAP, DecodedImage, cut, decode_image, open_image


@pytest.fixture
def colors():
    """A picture whose four quarters differ, 40 x 24 (w x h): red, green / blue, yellow."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:12, :20], pixels[:12, 20:] = (255, 0, 0), (0, 255, 0)
    pixels[12:, :20], pixels[12:, 20:] = (0, 0, 255), (255, 255, 0)
    return pixels


def bomb_png(width, height):
    """A valid PNG header that promises width x height pixels, in some 60 bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 99)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_path_pillow_and_array_give_the_same_pixels(tmp_path, colors):
    path = tmp_path / "a.png"
    Image.fromarray(colors).save(path)
    for source in (path, str(path), Image.open(path), colors):
        opened = open_image(source)
        assert opened.dtype == np.uint8 and opened.flags.c_contiguous
        assert np.array_equal(opened, colors)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_respected(tmp_path, colors, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(colors).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        image.load()
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(open_image(path), expected)
    assert open_image(path).shape[:2] == ((24, 40) if orientation < 5 else (40, 24))
    assert np.array_equal(open_image(Image.open(path)), expected)


def test_what_a_program_turned_is_not_turned_again(tmp_path, colors):
    """It may still carry the file's orientation: boxes are in pixels of what was given."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colors).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as file:
        turned = file.rotate(-90, expand=True)
    assert turned.getexif()[0x0112] == 6
    assert np.array_equal(open_image(turned), np.rot90(colors, -1))
    assert np.array_equal(open_image(turned), open_image(tmp_path / "turned.png"))


def test_broken_exif_does_not_refuse_sound_pixels(tmp_path, colors):
    path = tmp_path / "a.jpg"
    Image.fromarray(colors).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x01\x02")
    assert open_image(path).shape == (24, 40, 3)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "RGBA", "LA", "RGB"])
def test_every_mode_becomes_rgb(tmp_path, colors, mode):
    image = Image.fromarray(colors).convert(mode)
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path, quality=95)
    for source in (path, image):
        opened = open_image(source)
        assert opened.shape == colors.shape and opened.dtype == np.uint8
        if mode in ("P", "CMYK", "YCbCr", "RGBA", "RGB"):
            assert np.abs(opened[6, 10].astype(int) - (255, 0, 0)).max() < 12
            assert np.abs(opened[18, 30].astype(int) - (255, 255, 0)).max() < 12


def test_16_bit_gray_is_scaled_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 40).astype(np.uint16)[None].repeat(8, axis=0)
    for suffix in ("png", "tif"):
        Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
        opened = open_image(tmp_path / f"a.{suffix}")
        assert np.abs(opened[0, :, 0] - levels[0] / 257).max() <= 0.5
    assert np.array_equal(open_image(levels), opened)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_16_bits_that_use_fewer_are_stretched(tmp_path, bits):
    levels = np.linspace(0, 2**bits - 1, 40).astype(np.uint16)[None].repeat(8, axis=0)
    Image.fromarray(levels).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", levels, np.stack([levels] * 3, 2)):
        opened = open_image(source)
        assert np.abs(opened[..., 1] - levels * (255 / (2**bits - 1))).max() <= 0.5


def test_transparent_pixels_are_laid_on_gray(tmp_path, colors):
    alpha = np.full((24, 40, 1), 255, np.uint8)
    alpha[:12] = 0
    alpha[12:, :20] = 51
    rgba = np.concatenate([colors, alpha], axis=2)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(colors).quantize(4).save(tmp_path / "palette.png", transparency=0)
    for source in (tmp_path / "a.png", rgba):
        opened = open_image(source)
        assert (opened[:12] == BACKGROUND).all()
        assert np.abs(opened[20, 5] - (BACKGROUND * 0.8 + np.array([0, 0, 51]))).max() <= 1
        assert tuple(opened[20, 30]) == (255, 255, 0)
    assert (open_image(tmp_path / "palette.png") == BACKGROUND).all(axis=2).sum() == 240


def test_the_smallest_picture(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    picture = open_image(tmp_path / "a.png")
    assert picture.tolist() == [[[1, 2, 3]]]
    assert (cut(picture, (0, 0, 1, 1), (8, 5)) == (1, 2, 3)).all()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (bomb_png(30_000, 30_000), "too large"),
        (bomb_png(13_000, 13_000), "too large"),  # between the limit and Pillow's own
        (bomb_png(900, 900), "damaged"),
    ],
)
def test_a_file_that_is_no_sound_picture(tmp_path, content, says, recwarn):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        open_image(path)
    assert "a.png" in str(caught.value) and "\n" not in str(caught.value)
    assert not recwarn.list


def test_a_bomb_is_refused_from_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # whoever calls us may have lifted Pillow's limit
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb_png(30_000, 30_000))
    begin = time.process_time()  # of this process: others may be at work
    with pytest.raises(InputError, match="too large: 30000 x 30000"):
        open_image(path)
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_truncated_file(tmp_path, kind, keep):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    path = tmp_path / "half"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * keep)])
    with pytest.raises(InputError, match="half"):
        open_image(path)


def test_a_path_that_leads_to_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, says in [
        (tmp_path / "missing.jpg", "does not exist"),
        (tmp_path, "is a folder"),
        ("", "is a folder|does not exist"),
        (tmp_path / "pipe", "not a regular file"),
        ("a\0b.jpg", "does not exist"),
        ("x" * 5000, "cannot be read"),
    ]:
        with pytest.raises(InputError, match=says):
            open_image(path)


@pytest.mark.parametrize(
    "array",
    [
        np.ma.masked_less(np.arange(64, dtype=np.uint8).reshape(8, 8), 9),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int64),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((3,), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        None,
        b"bytes",
        Image.new("F", (4, 4)),
    ],
)
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(InputError):
        open_image(array)


def test_an_image_of_several_frames_keeps_no_file_open(tmp_path):
    frames = [Image.new("RGB", (32, 24), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    decoded = [decode_image(tmp_path / "a.tif") for _ in range(5)]
    assert all(np.array_equal(one.array(), open_image(tmp_path / "a.tif")) for one in decoded)
    assert before is None or len(os.listdir("/proc/self/fd")) == before


def test_a_matrix_is_an_array_of_two_dimensions():
    assert open_image(np.matrix(np.full((4, 5), 7, np.uint8))).tolist() == np.full((4, 5, 3), 7).tolist()


def test_random_bytes_never_raise_anything_else(tmp_path, recwarn):
    """Damage sound files at random places: either they open, or one InputError says why not."""
    rng = np.random.default_rng(1)
    path = tmp_path / "a"
    outcomes = set()
    for kind in ("jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm"):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(buffer, kind)
        for _ in range(40):
            data = bytearray(buffer.getvalue())
            for place in rng.integers(0, min(len(data), 400), 4):
                data[place] = rng.integers(256)
            path.write_bytes(data)
            try:
                outcomes.add(open_image(path).ndim)
            except InputError as error:
                outcomes.add("refused")
                assert "\n" not in str(error)
    assert outcomes == {3, "refused"}
    assert not recwarn.list  # a warning would end up on a user's screen


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_what_is_only_decoded_is_the_same_picture(tmp_path, colors, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(colors).convert(mode).save(path, exif=exif, quality=95)
    decoded, opened = decode_image(path), open_image(path)
    assert isinstance(decoded, DecodedImage) == (mode == "RGB" and orientation == 1)
    assert decoded.shape == opened.shape and np.array_equal(open_image(decoded), opened)
    assert np.array_equal(np.asarray(decoded), opened)
    assert np.array_equal(cut(decoded, (1, 2, 21, 12), (20, 10)), cut(opened, (1, 2, 21, 12), (20, 10)))


def test_the_array_of_a_decoded_picture_is_made_once(tmp_path, colors):
    path = tmp_path / "a.png"
    Image.fromarray(colors).save(path)
    decoded = decode_image(path)
    assert isinstance(decoded, DecodedImage) and decode_image(decoded) is decoded
    assert decoded.array() is decoded.array() is open_image(decoded)
    assert decode_image(colors) is colors


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_damaged_file_is_refused_when_it_is_only_decoded(tmp_path, keep):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(
        buffer, "jpeg"
    )
    path = tmp_path / "half.jpg"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * keep)])
    with pytest.raises(InputError, match="half"):
        decode_image(path)
    (tmp_path / "bomb.png").write_bytes(bomb_png(30_000, 30_000))
    with pytest.raises(InputError, match="too large"):
        decode_image(tmp_path / "bomb.png")


# ---- cutting


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (180, 320, 3), dtype=np.uint8)


@st.composite
def windows(draw, width=320, height=180):
    sixteenths = st.integers(1, 16 * 60)
    x1, y1 = draw(st.integers(0, 16 * width - 1)) / 16, draw(st.integers(0, 16 * height - 1)) / 16
    return (x1, y1, min(x1 + draw(sixteenths) / 4, width), min(y1 + draw(sixteenths) / 4, height))


@settings(max_examples=150, deadline=None)
@given(window=windows(), out_w=st.integers(1, 80), out_h=st.integers(1, 80))
def test_cutting_from_a_slice_equals_cutting_from_the_whole_frame(frame, window, out_w, out_h):
    whole = Image.fromarray(frame).resize((out_w, out_h), Image.Resampling.BILINEAR, box=window)
    # One gray level: Pillow rounds between its two passes and picks their order by the shape it is given. A window that
    # shrinks by much is shrunk in two steps, which noise shows most.
    much = 2 * REDUCING_GAP
    stepwise = (window[2] - window[0]) / out_w >= much or (window[3] - window[1]) / out_h >= much
    for picture in (frame, DecodedImage(Image.fromarray(frame))):
        far = np.abs(cut(picture, window, (out_w, out_h)).astype(int) - np.array(whole))
        assert far.max() <= (40 if stepwise else 1)


def test_shrinking_in_two_steps_is_hardly_seen():
    y, x = np.mgrid[:900, :1200]
    ramps = np.stack([x / 5, y / 4, (x + y) / 9], -1).astype(np.uint8)
    ramps[300:340, 500:530] = (250, 10, 10)
    whole = Image.fromarray(ramps).resize((120, 90), Image.Resampling.BILINEAR)
    far = np.abs(cut(ramps, (0, 0, 1200, 900), (120, 90)).astype(int) - np.array(whole))
    assert far.mean() < 0.5 and far.max() < 30


def test_the_whole_frame_at_its_own_size_is_itself(frame):
    assert np.array_equal(cut(frame, (0, 0, 320, 180), (320, 180)), frame)
    assert np.array_equal(cut(frame, (10, 20, 110, 60), (100, 40)), frame[20:60, 10:110])


def test_a_window_is_cut_with_sub_pixel_precision():
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], (50, 1, 3))  # value = 2 x pixel index
    for shift in (0.0, 0.25, 0.5, 0.75):
        row = cut(ramp, (20 + shift, 5, 60 + shift, 25), (40, 20))[10, :, 0].astype(float)
        assert np.abs(row - 2 * (20 + shift + np.arange(40))).max() <= 0.5
    halved = cut(ramp, (20.5, 5, 60.5, 25), (20, 10))[5, :, 0].astype(float)
    assert np.abs(halved - (2 * (20.5 + 2 * np.arange(20) + 0.5))).max() <= 0.5


def test_shrinking_does_not_alias(frame):
    small = cut(frame, (0, 0, 320, 180), (16, 9)).astype(float)
    assert small.std() < 12  # the noise has a standard deviation of 74: picked pixels would keep it
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = cut(stripes, (0, 0, 160, 160), (30, 30))[:, 2:-2]
    assert np.abs(inner.astype(int) - 127).max() < 12


@pytest.mark.parametrize("window", [(319.999, 179.999, 320, 180), (0, 0, 1e-4, 1e-4), (5.2, 5.2, 5.3, 170)])
def test_slivers_are_cut(frame, window):
    assert cut(frame, window, (32, 18)).shape == (18, 32, 3)


def test_rounding_at_the_edges_is_forgiven(frame):
    window = (-1e-7, -1e-7, 320 + 1e-7, 180 + 1e-7)
    assert np.array_equal(cut(frame, window, (64, 36)), cut(frame, (0, 0, 320, 180), (64, 36)))


@pytest.mark.parametrize(
    ("window", "size"),
    [
        ((-1, 0, 10, 10), (8, 8)),
        ((0, 0, 321, 10), (8, 8)),
        ((10, 10, 10, 20), (8, 8)),
        ((20, 10, 10, 20), (8, 8)),
        ((0, 0, 10, float("nan")), (8, 8)),
        ((0, 0, 10, 10), (0, 8)),
    ],
)
def test_a_window_that_is_none_is_refused(frame, window, size):
    with pytest.raises(ValueError):
        cut(frame, window, size)


def test_a_cut_can_be_written_to(frame):
    cut(frame, (0, 0, 320, 180), (320, 180))[:] = 0
    assert frame.any()


def test_libtiff_says_nothing(colors, capfd):
    file = io.BytesIO()
    Image.fromarray(colors).save(file, "TIFF", compression="tiff_lzw")
    content = file.getvalue()
    for at in range(8, 60, 3):
        try:
            open_image(content[:at] + b"\xff" * 4 + content[at + 4 :])
        except InputError:
            pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "I;16", "I", "L"])
def test_large_images_are_converted_in_bands_with_the_same_pixels(mode, monkeypatch):
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 4096, (40, 30), dtype=np.uint16)
    image = Image.fromarray(rng.integers(0, 255, (40, 30, 4), dtype=np.uint8)).convert("RGB")
    if mode.startswith("I"):
        image = Image.fromarray(gray) if mode == "I;16" else Image.fromarray(gray.astype(np.int32))
    else:
        image = (
            Image.fromarray(rng.integers(0, 255, (40, 30, 4), dtype=np.uint8)).convert(mode)
            if mode == "RGBA"
            else image.convert(mode)
        )
    whole = open_image(image)
    monkeypatch.setattr("piza.image.BAND_PIXELS", 90)
    np.testing.assert_array_equal(open_image(image), whole)


def colors_of_12_bits():
    y, x = np.mgrid[:64, :80]
    return np.stack([x * 51, y * 64, (x + y) * 28], -1).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm", ".jp2"])
def test_colors_of_16_bits_that_use_12_are_refused_and_not_black(suffix):
    colors = colors_of_12_bits()
    content = cv2.imencode(suffix, colors)[1].tobytes()
    for read in (open_image, decode_image):
        with pytest.raises(InputError, match=r"colors of 16 bits that use the lowest 1[23] only"):
            read(content)
    full = open_image(cv2.imencode(suffix, colors * 16)[1].tobytes())
    assert abs(full[..., ::-1].astype(int) - colors // 16).max() <= (
        3 if suffix == ".jp2" else 1
    )  # it is lossy


def test_the_depth_of_a_jpeg_2000_is_found_behind_other_boxes(tmp_path):
    content = cv2.imencode(".jp2", colors_of_12_bits())[1].tobytes()
    start = content.index(b"jp2c") - 4
    box = (70_000).to_bytes(4, "big") + b"xml " + bytes(70_000 - 8)
    (tmp_path / "a.jp2").write_bytes(content[:start] + box + content[start:])
    with pytest.raises(InputError, match=r"the lowest 1[23] only"):
        open_image(tmp_path / "a.jp2")


def test_a_jpeg_2000_is_refused_sooner(monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "JPEG2000")
    assert open_image(file.getvalue()).shape == (20, 20, 3)
    monkeypatch.setattr("piza.image.MAX_JPEG2000_PIXELS", 399)
    with pytest.raises(InputError, match="JPEG 2000 of over"):
        open_image(file.getvalue())


def test_threads_leave_the_warnings_of_a_program_as_they_were():
    file = io.BytesIO()
    Image.new("RGB", (300, 200)).save(file, "JPEG")
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: open_image(file.getvalue()).shape, range(200)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before
