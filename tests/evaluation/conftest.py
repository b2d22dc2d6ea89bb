"""What several tests of evaluation look at."""

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    """A folder with two images and a broken one."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path
