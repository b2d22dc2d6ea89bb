"""Case e: training `mini`, steps of forward, backward and AdamW: with the library's sampling and with piza's."""

from pathlib import Path
from typing import Any

from parts import MicroBatches
from sides import measure
from table import row

FRAME = (1024, 576)
FIRST, LATER = (672, 384), (224, 224)
FIRST_BATCH, LATER_BATCH = 2, 8


def prepare(side: str, folder: Path, model: str, parts: MicroBatches) -> Any:
    import numpy as np
    import torch

    from piza.data.windows import grounding_window, window_around
    from piza.hub import find_model
    from piza.model import accelerate
    from piza.model.load import load_plain
    from piza.search.zoom_path import frame_window
    from piza.training.from_scratch.base_model.batch_norm import thaw_batch_norm
    from piza.training.from_scratch.base_model.window_batches import collate_scenes, scene_loss
    from piza.training.from_scratch.frames.sources import scene_frames

    torch.manual_seed(0)
    loaded = load_plain(find_model(model)).train()
    if side != "naive":
        accelerate.apply(loaded, training=True)
    thaw_batch_norm(loaded.detector)
    rng = np.random.default_rng(0)
    frames = list(scene_frames(range(FIRST_BATCH), FRAME))
    whole = [grounding_window(frame, rng, frame_window(FRAME), 8.0) for frame in frames]
    windows = [
        (frame, window_around(frame.rows[i % len(frame.rows)][1], FRAME, rng, 150.0, 250.0, 1.0))
        for i in range(LATER_BATCH)
        for frame in [frames[i % len(frames)]]
    ]
    closer = [grounding_window(frame, rng, window, 8.0) for frame, window in windows]
    batches = [collate_scenes(whole, FIRST, None), collate_scenes(closer, LATER, None)]
    optimizer = torch.optim.AdamW([p for p in loaded.parameters() if p.requires_grad], lr=1e-6)

    def run() -> Any:
        losses = []
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = scene_loss(loaded, batch)["loss"]
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return {"samples": sum(len(batch.prompts) for batch in batches), "losses": losses}

    return run


def run(folder: Path, model: str, runs: int) -> list[dict[str, Any]]:
    found = measure("training", ["naive", "piza"], folder, model, runs)
    samples = found["piza"].answer["samples"]
    speeds = [1000 * samples / found[side].wall for side in ("naive", "piza")]
    title = f"training mini, {samples} samples: {speeds[0]:.1f} and {speeds[1]:.1f} samples a second"
    return [row("e", title, found["naive"], found["piza"])]
