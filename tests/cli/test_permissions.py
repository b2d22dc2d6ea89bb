"""Files and folders that may not be read or written: exit code 2 and one sentence that names them."""

import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

CHILD = """
import contextlib, io, json, sys
from piza.cli.main import main as cli
for arguments in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = cli(arguments)
    print(json.dumps([code, said.getvalue()]))
"""
DROP_FROM_BOUNDING_SET = 24  # of prctl
COMMANDS = {
    "closed image": ("locate closed.jpg car", "'closed.jpg' cannot be read"),
    "image in a closed folder": ("locate closed/good.jpg car", "'closed/good.jpg' cannot be read"),
    "closed folder of images": ("locate closed car", "'closed' cannot be read"),
    "pattern in a closed folder": ("locate closed/*.jpg car", "'closed' cannot be read"),
    "pattern over a closed folder": ("locate **/good*.png car", "'closed' cannot be read"),
    "pattern over what is in a closed folder": ("locate */within/*.jpg car", "'closed' cannot be read"),
    "rows": ("evaluate closed.json --images .", "'closed.json' cannot be read"),
    "image of rows": ("evaluate rows.json --images closed", "'good.jpg' cannot be read"),
    "image of rows to view": ("data view rows.json --images closed --out v.html", "'good.jpg' cannot be read"),
    "images to propose in": ("data propose closed --out p.jsonl", "'closed' cannot be read"),
    "weights": ("locate good.jpg car --model model", "model/model.safetensors cannot be read"),
    "model": ("locate good.jpg car --model closed", "closed"),
    "drawing": ("locate good.jpg car --out fixed/x.png", "'fixed/x.png'"),
    "answers": ("locate good.jpg car --out fixed/x.jsonl", "'fixed/x.jsonl'"),
    "predictions": ("evaluate rows.json --images . --predictions fixed/p.jsonl", "'fixed/p.jsonl'"),
    "report": ("evaluate rows.json --images . --report fixed/report", "'fixed/report'"),
    "scenes": ("data scenes fixed/new --count 1 --seed 1", "'fixed/new'"),
    "plots": ("data stats rows.json --plots fixed/plots", "'fixed/plots'"),
    "converted": ("data convert rows.json --from sorec --to coco --images . --out fixed/c.json", "'fixed/c.json'"),
    "adapter": ("train rows.json --images . --base mini --out fixed/run --steps 1", "fixed"),
    "export": ("export mini --out fixed/export", "'fixed/export'"),
    "parts": ("batch rows.jsonl --images . --out fixed/parts", "fixed/parts'"),
}  # fmt: skip


def held_to_permissions():
    """Root may read and write everything, so it gives that up before the command begins."""
    if os.geteuid() == 0:
        library = ctypes.CDLL(None)
        for capability in range(64):
            library.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


@pytest.fixture(scope="module")
def answered(tmp_path_factory, tiny_piza):
    """Exit code and errors of each command."""
    from piza.model.io import save_folder

    if not sys.platform.startswith("linux"):
        pytest.skip("permissions are dropped as Linux does it")
    place = tmp_path_factory.mktemp("permissions")
    Image.fromarray(np.full((90, 120, 3), 128, np.uint8)).save(place / "good.jpg")
    row = {"image": "good.jpg", "bbox": [1, 1, 9, 9], "ref": "the car", "id": 1}
    (place / "rows.json").write_text(json.dumps([row]))
    (place / "rows.jsonl").write_text(json.dumps({"image": "good.jpg", "sentence": "the car"}))
    (place / "closed.json").write_text(json.dumps([row]))
    (place / "closed.jpg").write_bytes((place / "good.jpg").read_bytes())
    for folder in ("closed", "fixed"):
        (place / folder).mkdir()
    (place / "closed" / "good.jpg").write_bytes((place / "good.jpg").read_bytes())
    save_folder(tiny_piza, place / "model")
    closed = [
        place / "closed.jpg",
        place / "closed.json",
        place / "closed",
        place / "model/model.safetensors",
    ]
    for path in closed:
        path.chmod(0)
    (place / "fixed").chmod(0o555)
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([command.split() for command, _ in COMMANDS.values()]),
        cwd=place,
        preexec_fn=held_to_permissions,
        capture_output=True,
        text=True,
        timeout=240,
    )
    for path in (*closed, place / "fixed"):
        path.chmod(0o755)
    assert child.returncode == 0, child.stderr
    said = [json.loads(line) for line in child.stdout.splitlines()]
    return dict(zip(COMMANDS, said, strict=True))


@pytest.mark.parametrize("case", COMMANDS)
def test_what_may_not_be_read_or_written_is_named(answered, case):
    code, said = answered[case]
    assert code == 2, said
    assert COMMANDS[case][1] in said and "ermission" in said
    assert said.count("\n") == 1 and said.startswith("piza: ")


def test_a_current_folder_that_is_gone_is_said_so(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    child = subprocess.run(
        [sys.executable, "-m", "piza", "locate", str(tmp_path / "good.jpg"), "the car"],
        cwd=gone,
        preexec_fn=gone.rmdir,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 2
    assert child.stderr == "piza: the current folder has been removed, expected one that exists.\n"


@pytest.mark.parametrize("name", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"])
def test_a_setting_that_a_library_cannot_read_is_said_so(name):
    child = subprocess.run(
        [sys.executable, "-m", "piza", "locate", "a.jpg", "the car"],
        env={**os.environ, name: "ten"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 2
    assert child.stderr == f"piza: {name} is 'ten', expected a whole number of seconds.\n"
