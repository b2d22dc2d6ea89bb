"""The page in a real browser, with a model that answers at once."""

import csv
import json
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="piza[serve] is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import sync_playwright
from tests.server.conftest import serving
from tests.server.fake_model import FakeModel, answer

from piza.data.scenes import examples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium", allow_module_level=True)

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE = 60_000  # milliseconds; the machine may be busy
SIZE = (2400, 1600)


@pytest.fixture(scope="module")
def model():
    return FakeModel()


@pytest.fixture(scope="module")
def served(model):
    """(address, application) of a server in this process."""
    patch = pytest.MonkeyPatch()
    patch.setattr(examples, "SCENES", ((5, (640, 360)),))
    with serving(model, megabytes=2) as ((host, port), app):
        yield f"http://{host}:{port}/", app
    patch.undo()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with sync_playwright() as driver:
        place = tmp_path_factory.mktemp("profile")
        context = driver.chromium.launch_persistent_context(
            place, executable_path=CHROMIUM, args=QUIET, viewport={"width": 1280, "height": 900}
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def page(browser, served):
    """A fresh page; at the end it must have asked nobody else, thrown nothing, and kept to its policy."""
    address, _ = served
    page = browser.new_page()
    asked, thrown, said = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    page.wait_for_selector(".viewer .drop")
    yield page
    page.close()
    assert not thrown and not [text for text in said if "Content Security Policy" in text]
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "street & car.png"
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)).save(path)
    return path


def until(page, expression):
    """Wait for a condition; the page's policy forbids playwright's own way, which compiles a text."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)


def hand_over(page, photo):
    page.set_input_files(".viewer input[type=file]", photo)
    page.wait_for_selector(".viewer figure.alone, .viewer .notice")


def ask(page, *sentences):
    page.locator("#sentences").fill("\n".join(sentences))
    page.locator("#search").click()


def notice(page):
    return page.wait_for_selector(".viewer .notice").inner_text()


def searched(page, photo, *sentences):
    hand_over(page, photo)
    ask(page, *(sentences or ["the red car"]))
    page.wait_for_selector(".viewer .answer")


def view(page, panel=".frame svg"):
    return [float(value) for value in page.locator(panel).get_attribute("viewBox").split()]


def test_a_search_from_the_upload_to_the_numbers(page, photo, model):
    hand_over(page, photo)
    assert "street & car.png" in page.inner_text(".bar") and "2400 × 1600" in page.inner_text(".bar")
    ask(page, "the <b>red</b> zorgle", "", "  the blue sign ")
    page.wait_for_selector(".viewer .answer")
    assert model.calls[-1] == {"sentences": ["the <b>red</b> zorgle", "the blue sign"]}
    assert page.inner_text(".sentence") == "the <b>red</b> zorgle"
    assert page.inner_text("code.corners") == "1196.0, 795.0, 1206.0, 805.0"
    assert page.inner_text("code.size") == "1196.0, 795.0, 10.0, 10.0"
    assert page.inner_text(".score") == "0.83"
    assert "does not know “zorgle”" in page.inner_text(".answer")
    page.locator(".tabs button").nth(1).click()
    assert page.inner_text(".sentence") == "the blue sign"
    assert "zorgle" not in page.inner_text(".answer")


def test_the_slider_goes_through_the_looks_without_asking_the_server(page, photo):
    searched(page, photo)
    slider = page.wait_for_selector(".steps input[type=range]")
    until(page, "[...document.querySelectorAll('.seen image')].length == 3")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    assert slider.get_attribute("aria-valuetext") == "Answer"
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "Look 1 of 2"
    assert "2400 × 1600 pixels, given to it at 96 × 64" in page.inner_text(".views")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "Look 2 of 2"
    assert "533 × 533 pixels, given to it at 64 × 64" in page.inner_text(".views")
    facts = page.inner_text(".facts")
    assert "0.55" in facts and "90 %" in facts and "0.80" in facts and "0.10" in facts
    window = page.locator(".frame svg rect[stroke='rgb(240, 228, 66)']").bounding_box()
    frame = page.locator(".frame svg").bounding_box()
    assert window["width"] / frame["width"] == pytest.approx(1600 / 3 / 2400, rel=0.05)
    page.locator(".ticks button").last.click()
    assert slider.get_attribute("aria-valuetext") == "Answer"
    page.get_by_role("button", name="Play").click()
    assert slider.get_attribute("aria-valuetext") == "Look 1 of 2"
    until(page, "document.querySelector('.steps input').getAttribute('aria-valuetext') == 'Answer'")
    assert [url for url in asked if "/page/" in url] == []


def test_the_frame_zooms_by_wheel_drag_buttons_and_keys_and_gets_sharp(page, photo):
    searched(page, photo)
    frame = page.locator(".frame svg")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    corner = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25
    page.mouse.move(*corner)
    with page.expect_response(lambda response: "/crop/" in response.url) as waiting:
        for _ in range(4):
            page.mouse.wheel(0, -200)
    assert waiting.value.status == 200
    x, y, width, height = view(page)
    assert width < 500 and width / height == pytest.approx(1.5)
    assert x + 0.25 * width == pytest.approx(600, abs=5) and y + 0.25 * height == pytest.approx(400, abs=5)
    page.wait_for_selector(".frame svg g image", state="attached")
    page.mouse.down()
    page.mouse.move(corner[0] + 60, corner[1] + 30, steps=3)
    page.mouse.up()
    assert view(page)[0] == pytest.approx(x - 60 * width / box["width"], abs=2)
    frame.focus()
    page.keyboard.press("ArrowRight")
    assert view(page)[0] > x - 60 * width / box["width"] + 1
    page.keyboard.press("0")
    assert view(page) == [0, 0, 2400, 1600]
    page.keyboard.press("+")
    assert view(page)[2] == 1600
    page.get_by_role("button", name="Show the whole frame").click()
    assert view(page) == [0, 0, 2400, 1600]
    page.get_by_role("button", name="Zoom to it").click()
    x, y, width, height = view(page)
    assert x < 1196 and x + width > 1206 and width < 200


def test_two_fingers_zoom(page, photo):
    searched(page, photo)
    box = page.locator(".frame svg").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    page.evaluate(
        """([x, y]) => {
          const svg = document.querySelector(".frame svg");
          const send = (kind, pointerId, dx) => svg.dispatchEvent(new PointerEvent(kind, {
            pointerId, pointerType: "touch", clientX: x + dx, clientY: y, bubbles: true, isPrimary: pointerId === 1 }));
          svg.setPointerCapture = () => {};
          send("pointerdown", 1, -20); send("pointerdown", 2, 20);
          send("pointermove", 1, -60); send("pointermove", 2, 60);
          send("pointerup", 1, -60); send("pointerup", 2, 60);
        }""",
        middle,
    )
    x, _, width, _ = view(page)
    assert width == pytest.approx(800, rel=0.02) and x + width / 2 == pytest.approx(1200, abs=30)


def test_the_files_and_the_zoom(page, photo):
    searched(page, photo)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as JSON").click()
    with open(waiting.value.path()) as file:
        saved = json.load(file)
    assert saved == answer(np.zeros((1600, 2400, 3), np.uint8), "the red car").to_dict()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the drawing").click()
    with Image.open(waiting.value.path()) as drawing:
        assert drawing.format == "PNG" and drawing.width > 800
    page.get_by_role("button", name="Watch the zoom").click()
    until(page, "document.querySelector('.film img')?.naturalWidth > 100")
    page.get_by_role("button", name="Close").click()
    assert page.locator(".film img").count() == 0


def test_the_table_of_all_answers_and_its_files(page, photo):
    searched(page, photo, "the red car", "the blue sign", "a hat")
    rows = page.locator(".all tbody tr")
    assert rows.count() == 3
    rows.nth(2).get_by_role("button").click()
    assert page.inner_text(".sentence") == "a hat"
    files = {}
    for words in ("JSON", "CSV", "COCO"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=f"Save all answers as {words}").click()
        assert waiting.value.suggested_filename.startswith("street & car-answers.")
        files[words] = open(waiting.value.path()).read()
    assert [one["expression"] for one in json.loads(files["JSON"])] == [
        "the red car",
        "the blue sign",
        "a hat",
    ]
    assert [row["sentence"] for row in csv.DictReader(files["CSV"].splitlines())][2] == "a hat"
    assert len(json.loads(files["COCO"])["annotations"]) == 3


def test_control_enter_searches(page, photo):
    hand_over(page, photo)
    page.locator("#sentences").fill("the red car")
    page.locator("#sentences").press("Control+Enter")
    page.wait_for_selector(".viewer .answer")


def test_a_reload_finds_everything_again(page, photo, served):
    page.locator("#options summary").click()
    page.get_by_label("Budget").fill("3")
    searched(page, photo, "the red car", "the blue sign")
    page.reload()
    page.wait_for_selector(".viewer .answer")
    assert page.locator("#sentences").input_value() == "the red car\nthe blue sign"
    assert page.get_by_label("Budget").input_value() == "3" and page.locator(".tabs button").count() == 2
    served[1].state.store._images.clear()  # as after a restart of the server
    page.reload()
    page.wait_for_selector(".viewer figure.alone")
    assert "street & car.png" in page.inner_text(".bar")
    page.locator("#search").click()
    page.wait_for_selector(".viewer .answer")
    served[1].state.store._images.clear()
    page.locator("#search").click()  # the image goes there again without a word
    page.wait_for_selector(".viewer .answer")
    page.get_by_role("button", name="Remove").click()
    page.wait_for_selector(".viewer .drop")
    page.reload()
    page.wait_for_selector(".viewer .drop")
    assert page.locator("#sentences").input_value() == "the red car\nthe blue sign"


def test_bad_input_gets_a_sentence_and_the_page_goes_on(page, photo, tmp_path):
    page.locator("#search").click()
    assert notice(page) == "First drop an image here, or choose one."
    (tmp_path / "notes.jpg").write_text("no image")
    hand_over(page, tmp_path / "notes.jpg")
    until(page, "document.querySelector('.notice')?.textContent.startsWith(\"'notes.jpg' is not\")")
    (tmp_path / "large.jpg").write_bytes(b"x" * 3_000_000)
    hand_over(page, tmp_path / "large.jpg")
    assert notice(page) == "large.jpg is too large: 3 MB, at most 2 MB are taken."
    hand_over(page, photo)
    page.locator("#search").click()
    assert notice(page) == "The sentence is empty; say in words what to find."
    page.locator("#options summary").click()
    page.get_by_label("Budget").fill("many")
    ask(page, "the red car")
    until(page, "document.querySelector('.notice')?.textContent.includes(\"from 1 to 100, got 'many'\")")
    page.get_by_label("Budget").fill("2")
    ask(page, "the red car")
    page.wait_for_selector(".viewer .answer")
    assert page.locator(".notice").count() == 0


def test_a_fault_of_the_model_is_no_dead_end(page, photo, model):
    hand_over(page, photo)
    model.fails = RuntimeError("inner workings")
    ask(page, "the red car")
    assert notice(page) == "Something went wrong inside the server; its log says what."
    model.fails = None
    until(page, "!document.querySelector('#search').disabled")
    ask(page, "the red car")
    page.wait_for_selector(".viewer .answer")


def test_a_search_can_be_cancelled(page, photo, model, served):
    hand_over(page, photo)
    model.wait = threading.Event()
    try:
        ask(page, "the red car")
        page.locator("#cancel").click()
        until(page, "!document.querySelector('#search').disabled")
        assert "say what to find" in page.inner_text(".viewer figcaption")
    finally:
        model.wait.set()
        model.wait = None
    while served[1].state.busy:
        time.sleep(0.02)


def test_an_example_is_drawn_and_searched_in(page):
    until(page, "document.querySelector('.example img')?.naturalWidth == 640")
    page.locator(".example").click()
    page.wait_for_selector(".viewer .answer")
    sentences = page.locator("#sentences").input_value().splitlines()
    assert page.inner_text(".sentence") == sentences[0]
    assert "street-1.jpg" in page.inner_text(".bar")


def test_the_page_of_the_interface_is_whole(page, served):
    page.goto(f"{served[0]}docs")
    page.wait_for_selector("#docs section")
    text = page.inner_text("#docs")
    assert "POST /locate" in text and "accept_threshold" in text and "ErrorAnswer" in text


def test_every_control_has_a_name(page, photo):
    searched(page, photo, "the red car", "the blue sign")
    page.locator("#options summary").click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a")].filter((node) =>
          !(node.innerText?.trim() || node.getAttribute("aria-label") || node.labels?.length)).map((node) => node.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.documentElement.lang") == "en"


def test_dark_and_narrow(page, photo, tmp_path):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 375, "height": 800})
    searched(
        page,
        photo,
        "the red car in a sentence that goes on and on about what is to the left of it",
        "another",
    )
    time.sleep(0.3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        edge = np.asarray(picture.convert("L"))[:, :4]
    assert edge.mean() < 60
    frame, look = (page.locator(place).bounding_box() for place in (".frame svg", ".seen svg.now"))
    assert look["y"] > frame["y"] + frame["height"] and look["width"] > 300
