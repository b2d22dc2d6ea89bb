"""The page where people decide, in a real browser."""

import contextlib
import shutil
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="piza[serve] is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import sync_playwright
from tests.dataset.checked import record, write_photos

from piza.dataset.decisions import Rules
from piza.dataset.records import Decision, RecordWriter, read_records
from piza.server.app import HOST, listen, uvicorn_server
from piza.server.review import Review, create_review

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium", allow_module_level=True)

QUIET = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync".split()
PATIENCE = 60_000  # milliseconds; the machine may be busy
RECORDS = [
    record(n, texts=(f"The <i>car</i> number {n}.",), doubt=0.9 - n / 10, bbox=(100.0 + n, 80.0, 20.0, 16.0))
    for n in range(4)
]


@contextlib.contextmanager
def serving(folder, path):
    with RecordWriter(path, Decision) as log:
        app = create_review(Review(RECORDS, folder, log, Rules()), HOST)
        taken = listen(HOST, 0)
        server = uvicorn_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{taken.getsockname()[1]}/"
        finally:
            server.should_exit = True
            app.state.close()
            thread.join(20)
            taken.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("review") / "photos", RECORDS)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        # A browser as a user has it, whose storage is gone with it.
        yield lambda place: driver.chromium.launch_persistent_context(
            place, executable_path=CHROMIUM, args=QUIET, viewport={"width": 1280, "height": 900}
        )


@contextlib.contextmanager
def page_of(browser, place, address):
    """A browser with the page; at the end it must have thrown nothing, and kept to its policy."""
    context = browser(place)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda message: "Content Security Policy" in message.text and wrong.append(message.text)
    )
    page.goto(address)
    try:
        yield page
    finally:
        context.close()
    assert not wrong


def shown(page, words):
    """Wait for a text; the page's policy forbids playwright's own way, which compiles a text."""
    end = time.monotonic() + PATIENCE / 1000
    while words not in page.inner_text("#review"):
        assert time.monotonic() < end, page.inner_text("#review")
        time.sleep(0.05)


def test_people_decide_by_keys_and_nothing_is_lost(browser, folder, tmp_path):
    log, profile = tmp_path / "decisions.jsonl", tmp_path / "profile"
    with serving(folder, log) as address:
        with page_of(browser, profile, address) as page:
            shown(page, "The <i>car</i> number 0.")  # as text, and the most doubtful first
            assert "Leads to another thing." in page.inner_text(".doubts")
            page.keyboard.press("a")
            shown(page, "Type your name first")
            page.fill("#who", "Ann")
            page.keyboard.press("Tab")  # another name asks for its first sentence anew
            shown(page, "number 0")
            assert page.locator(".views image").count() == 2 and page.locator(".views rect").count() == 4
            page.keyboard.press("a")
            shown(page, "number 1")
            page.keyboard.press("n")
            shown(page, "number 2")
            page.keyboard.press("r")
            shown(page, "number 3")
            page.keyboard.press("b")
            shown(page, "number 2")
            assert page.locator("button[aria-pressed=true]").inner_text() == "Reject"
            page.keyboard.press("n")
            shown(page, "number 3")
            page.keyboard.press("f")
            page.fill("textarea", "The third car,")
            frame = page.locator("svg.drawing").bounding_box()
            page.mouse.move(frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 4)
            page.mouse.down()
            page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2, steps=3)
            page.mouse.up()
        # the browser was closed while fixing, and opens again
        with page_of(browser, profile, address) as page:
            shown(page, "number 1")
            assert page.input_value("#who") == "Ann" and "2 of 4 left" in page.inner_text("#left")
            page.keyboard.press("n")
            shown(page, "number 3")
            assert page.input_value("textarea") == "The third car,"
            page.focus("textarea")
            page.keyboard.press("End")
            page.keyboard.type(" a red one.")
            page.keyboard.press("Enter")
            shown(page, "number 1")
            page.keyboard.press("f")
            page.keyboard.press("Enter")
            shown(page, "Nothing was changed")
            page.keyboard.press("Escape")
            page.keyboard.press("a")
            shown(page, "Nothing is left for you.")
    written = read_records(log, Decision)
    assert [(one.id, one.decision) for one in written] == [
        (RECORDS[0].id, "accept"), (RECORDS[2].id, "reject"), (RECORDS[3].id, "fix"), (RECORDS[1].id, "accept"),
    ]  # fmt: skip
    assert {one.who for one in written} == {"Ann"} and written[2].text == "The third car, a red one."
    # The window is six times the longer side of the box, 120 pixels, around its center.
    assert written[2].bbox == pytest.approx((103 + 10 - 30, 80 + 8 - 30, 30, 30), abs=1.5)


def test_a_server_that_ended_is_told_and_the_fix_stays(browser, folder, tmp_path):
    log, profile = tmp_path / "decisions.jsonl", tmp_path / "profile"
    with contextlib.ExitStack() as server:
        address = server.enter_context(serving(folder, log))
        with page_of(browser, profile, address) as page:
            page.fill("#who", "Ann")
            page.keyboard.press("Tab")
            shown(page, "number 0")
            page.set_viewport_size({"width": 375, "height": 800})
            page.emulate_media(color_scheme="dark")
            page.keyboard.press("f")
            page.fill("textarea", "The first car of all.")
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            server.close()
            page.get_by_role("button", name="Save the fix").click()
            shown(page, "The server cannot be reached")
            assert page.input_value("textarea") == "The first car of all."
    assert log.read_bytes() == b""
