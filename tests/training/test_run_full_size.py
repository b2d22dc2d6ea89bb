"""The command at full size: Swin-T and BERT-base with random weights, on two real photos of SOREC's kind."""

import json
import os
import subprocess
import sys
import time

import pytest
from safetensors import safe_open
from tests.conftest import SHARED
from tests.processes import killed_after

PHOTOS = SHARED / "data" / "sorec" / "images"
ROWS = [
    {
        "image": "sample.jpg",
        "bbox": [932, 1407, 28, 32],
        "ref": "The red car left of the white van.",
        "id": 1,
    },
    {
        "image": "sample_3.jpg",
        "bbox": [1589, 667, 19, 53],
        "ref": "The traffic light with a green arrow.",
        "id": 2,
    },
]


def write_base(folder, tokenizer):
    """The architecture of the real base model (172 M parameters), with random weights, as transformers writes it."""
    import torch
    from transformers import BertConfig, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_indices=[2, 3, 4]
    )
    config = MMGroundingDinoConfig(backbone_config=swin, text_config=BertConfig())
    detector = MMGroundingDinoForObjectDetection(config)
    detector.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(p.numel() for p in detector.parameters())


def measured(arguments):
    """Runs `piza`; returns what it printed, its seconds and its peak memory in GB."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "piza", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    with killed_after(process, 1800):
        printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, printed
    return printed, time.perf_counter() - begin, usage.ru_maxrss / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos beside the project are not here")
def test_two_steps_and_an_evaluation_at_full_size(tmp_path, tiny_tokenizer):
    pytest.importorskip("scipy")
    assert 165e6 < write_base(tmp_path / "base", tiny_tokenizer) < 180e6
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    rows = [str(tmp_path / "rows.json"), "--images", str(PHOTOS)]
    out = tmp_path / "out"
    settings = [
        "--base",
        str(tmp_path / "base"),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--history-steps",
        "5",
    ]
    windows = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--crops-per-image",
        "2",
        "--micro-batch",
        "1",
        "--min-scale",
        "1",
        "--workers",
        "1",
    ]
    sizes = ["--first-pixels", "320", "--later-pixels", "256", "--log-every", "1"]
    printed, seconds, memory = measured(["train", *rows, *settings, *windows, *sizes])
    pace = (out / "training" / "log.csv").read_text().splitlines()[-1].split(",")[-2]
    print(f"\ntraining: {seconds:.0f} s in all, {pace} s a step, {memory:.2f} GB\n{printed}")
    with safe_open(out / "adapter.safetensors", "pt") as file:
        assert len(list(file.keys())) > 100
    assert (out / "adapter.safetensors").stat().st_size < 25e6
    assert "4,181,312 of" in printed  # as the released checkpoint marks them
    printed, seconds, memory = measured(["evaluate", *rows, "--model", str(out), "--budget", "2"])
    print(f"evaluation: {seconds:.0f} s in all, {memory:.2f} GB\n{printed}")
    assert printed.split()[:2] == ["rows", "2"]
