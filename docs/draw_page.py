"""Makes the pictures of docs/serve.md: python docs/draw_page.py [FOLDER], by default docs/ itself.

It serves the page with `mini`, has it search in a drawn street with a headless Chromium, and takes pictures of it in the
light, in the dark and as narrow as on a phone. Wants piza[dev] and a program called chromium.
"""

import io
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from PIL import Image

import piza
from piza.errors import InputError
from piza.files import atomic_write
from piza.server import app as serve

EXAMPLE = 1  # of the drawn streets, from 0
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 600_000  # milliseconds
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def draw(address: str, folder: Path, chromium: str) -> None:
    """Take the pictures of the page at this address."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        browser = driver.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=QUIET, viewport=WIDE, color_scheme="light"
        )
        browser.set_default_timeout(PATIENCE)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(".example")
        page.locator(".example").nth(EXAMPLE).click()
        page.wait_for_selector(".stage .answer")
        settle(page)
        save(page, folder / "serve_answer.png")
        page.locator(".ticks button").first.click()
        page.emulate_media(color_scheme="dark")
        settle(page)
        save(page, folder / "serve_dark.png")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(NARROW)
        page.locator(".ticks button").nth(1).click()
        settle(page)
        save(page, folder / "serve_phone.png")
        browser.close()


def settle(page: Any) -> None:
    """Wait until pictures are there and nothing moves."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def save(page: Any, path: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as picture, atomic_write(path) as temporary:
        picture.convert("RGB").save(temporary, optimize=True)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise InputError("a program called chromium is wanted, to take pictures of the page")
    with tempfile.TemporaryDirectory() as place:
        serve.check_installed(place)
        import uvicorn

        taken = serve.listen(serve.HOST, 0)
        application = serve.build({"mini": piza.load("mini")}, seconds=PATIENCE / 1000)
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        try:
            draw(f"http://{serve.HOST}:{taken.getsockname()[1]}/", folder, chromium)
        finally:
            server.should_exit = True
            thread.join(20)


if __name__ == "__main__":
    main()
