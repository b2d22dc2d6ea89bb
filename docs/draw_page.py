"""Makes the images of docs/serve.md: python docs/draw_page.py [FOLDER], by default docs/ itself.

It serves the page with `mini`, has it search in a drawn street with a headless Chromium, and takes screenshots of it in the
light, in the dark and as narrow as on a phone. Needs piza[dev] and a program called chromium.
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
from piza.server.app import HOST, ServeConfig, check_installed, create_app, listen, uvicorn_server

EXAMPLE = 1  # of the drawn streets, from 0
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 600_000  # milliseconds
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def draw(address: str, folder: Path, chromium: str) -> None:
    """Take the screenshots of the page at this address."""
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
        page.wait_for_selector(".viewer .answer")
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
    """Wait until images are there and nothing moves."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def save(page: Any, path: Path) -> None:
    """Write a screenshot of the whole page."""
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as image, atomic_write(path) as temporary:
        image.convert("RGB").save(temporary, optimize=True)


def main() -> None:
    """Serve the page at a free port for as long as the screenshots take."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise InputError("expected a program called chromium, to take screenshots of the page, found none")
    check_installed()
    address = listen(HOST, 0)
    server = uvicorn_server(create_app({"mini": piza.load("mini")}, ServeConfig(seconds=PATIENCE / 1000)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address]}, daemon=True)
    thread.start()
    try:
        draw(f"http://{HOST}:{address.getsockname()[1]}/", folder, chromium)
    finally:
        server.should_exit = True
        thread.join(20)


if __name__ == "__main__":
    main()
