"""The page in a real browser, with a model that answers at once."""

import json
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tests.server.fake_server_model import Quick, answer

from piza.cli import demo
from piza.server import app as serve

pytest.importorskip("gradio", reason="piza[serve] is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium", allow_module_level=True)

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE = 60_000  # milliseconds; the machine may be busy
SIZE = (1200, 800)


@pytest.fixture(scope="module")
def model():
    return Quick()


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """A server in this process, at a free port."""
    import uvicorn

    patch = pytest.MonkeyPatch()
    patch.setattr(demo, "SCENES", ((5, (640, 360)),))
    taken = serve.listen(serve.HOST, 0)
    app = serve.build({"quick": model}, megabytes=2)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
    taken.close()
    patch.undo()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as driver:
        place = tmp_path_factory.mktemp("profile")
        context = driver.chromium.launch_persistent_context(
            place, executable_path=CHROMIUM, args=QUIET, viewport={"width": 1280, "height": 900}
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def page(browser, address):
    """A fresh page; at the end it must have asked nobody else and thrown nothing."""
    page = browser.new_page()
    outside, thrown = [], []
    page.on("request", lambda asked: outside.append(asked.url))
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".stage .drop")
    yield page
    page.close()
    assert not thrown
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "street & car.png"
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)).save(path)
    return path


def hand_over(page, photo):
    page.set_input_files(".stage input[type=file]", photo)
    page.wait_for_selector(".stage figure.alone, .stage .notice")


def ask(page, *sentences):
    page.locator("#piza-sentences textarea").fill("\n".join(sentences))
    page.locator("#piza-search").click()


def notice(page):
    return page.wait_for_selector(".stage .notice").inner_text()


def test_a_search_from_the_upload_to_the_numbers(page, photo, model):
    hand_over(page, photo)
    assert "street & car.png" in page.inner_text(".bar") and "1200 × 800" in page.inner_text(".bar")
    ask(page, "the <b>red</b> car", "", "  the blue sign ")
    page.wait_for_selector(".stage .answer")
    assert model.calls[-1]["sentences"] == ["the <b>red</b> car", "the blue sign"]
    assert page.inner_text(".sentence") == "the <b>red</b> car"
    assert page.inner_text("code.corners") == "596.0, 395.0, 606.0, 405.0"
    assert page.inner_text("code.size") == "596.0, 395.0, 10.0, 10.0"
    assert page.inner_text(".score") == "0.83"
    page.locator(".tabs button").nth(1).click()
    assert page.inner_text(".sentence") == "the blue sign"


def test_the_slider_goes_through_the_looks_without_asking_the_server(page, photo):
    hand_over(page, photo)
    ask(page, "the red car")
    slider = page.wait_for_selector(".steps input[type=range]")
    page.wait_for_function("[...document.querySelectorAll('.seen image')].length == 3")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    assert slider.get_attribute("aria-valuetext") == "Answer"
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "Look 1 of 2"
    assert "1200 × 800 pixels, given to it at 96 × 64" in page.inner_text(".views")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "Look 2 of 2"
    assert "267 × 267 pixels, given to it at 64 × 64" in page.inner_text(".views")
    facts = page.inner_text(".facts")
    assert "0.55" in facts and "90 %" in facts and "0.80" in facts and "0.10" in facts
    window = page.locator(".frame svg rect[stroke='rgb(240, 228, 66)']").bounding_box()
    frame = page.locator(".frame svg").bounding_box()
    assert window["width"] / frame["width"] == pytest.approx(800 / 3 / 1200, rel=0.05)
    page.locator(".ticks button").last.click()
    assert slider.get_attribute("aria-valuetext") == "Answer"
    page.get_by_role("button", name="Play").click()
    assert slider.get_attribute("aria-valuetext") == "Look 1 of 2"
    page.wait_for_function(
        "document.querySelector('.steps input').getAttribute('aria-valuetext') == 'Answer'"
    )
    assert [url for url in asked if "/page/" in url or "/gradio_api/queue" in url] == []


def test_the_files_and_the_zoom(page, photo):
    hand_over(page, photo)
    ask(page, "the red car")
    page.wait_for_selector(".stage .answer")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as JSON").click()
    with open(waiting.value.path()) as file:
        saved = json.load(file)
    assert saved == answer(np.zeros((800, 1200, 3), np.uint8), "the red car").to_dict()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the drawing").click()
    with Image.open(waiting.value.path()) as drawing:
        assert drawing.format == "PNG" and drawing.width > 800
    page.get_by_role("button", name="Watch the zoom").click()
    page.wait_for_function("document.querySelector('.film img')?.naturalWidth > 100")
    page.get_by_role("button", name="Close").click()
    assert page.locator(".film img").count() == 0


def test_bad_input_gets_a_sentence_and_the_page_goes_on(page, photo, tmp_path):
    page.locator("#piza-search").click()
    assert notice(page) == "First drop a picture here, or choose one."
    (tmp_path / "notes.jpg").write_text("no picture")
    hand_over(page, tmp_path / "notes.jpg")
    page.wait_for_function(
        "document.querySelector('.notice')?.textContent.startsWith(\"'notes.jpg' is not a picture\")"
    )
    (tmp_path / "large.jpg").write_bytes(b"x" * 3_000_000)
    hand_over(page, tmp_path / "large.jpg")
    assert notice(page) == "large.jpg is too large: 3 MB, at most 2 MB are taken."
    hand_over(page, photo)
    page.locator("#piza-search").click()
    assert notice(page) == "The sentence is empty; say in words what to find."
    page.locator("#piza-options button").first.click()
    page.get_by_label("Looks at most").fill("many")
    ask(page, "the red car")
    page.wait_for_function(
        "document.querySelector('.notice')?.textContent.includes(\"from 1 to 100, got 'many'\")"
    )
    page.get_by_label("Looks at most").fill("2")
    ask(page, "the red car")
    page.wait_for_selector(".stage .answer")
    assert page.locator(".notice").count() == 0
    assert page.locator(".toast-wrap .toast-body").count() == 0


def test_a_fault_of_the_model_is_no_dead_end(page, photo, model):
    hand_over(page, photo)
    model.fails = RuntimeError("inner workings")
    ask(page, "the red car")
    assert notice(page) == "Something went wrong inside the server; its log says what."
    model.fails = None
    page.wait_for_function("!document.querySelector('#piza-search').disabled")
    ask(page, "the red car")
    page.wait_for_selector(".stage .answer")


def test_an_example_is_drawn_and_searched_in(page):
    page.wait_for_function("document.querySelector('.example img')?.naturalWidth == 640")
    page.locator(".example").click()
    page.wait_for_selector(".stage .answer")
    sentences = page.locator("#piza-sentences textarea").input_value().splitlines()
    assert page.inner_text(".sentence") == sentences[0]
    assert "street-1.jpg" in page.inner_text(".bar")


def test_dark_and_narrow(page, photo, tmp_path):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 375, "height": 800})
    hand_over(page, photo)
    ask(page, "the red car in a sentence that goes on and on about what is to the left of it")
    page.wait_for_selector(".stage .answer")
    time.sleep(0.3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        edge = np.asarray(picture.convert("L"))[:, :4]
    assert edge.mean() < 60
    frame, look = (page.locator(place).bounding_box() for place in (".frame svg", ".seen svg.now"))
    assert look["y"] > frame["y"] + frame["height"] and look["width"] > 300
