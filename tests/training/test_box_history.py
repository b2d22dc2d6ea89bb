import numpy as np
import torch

from piza.model.box_history import BoxHistoryConfig, pad_histories
from piza.training.box_history import HistorySample, progress_loss, train_progress

SMALL = BoxHistoryConfig(ffn=128)


def shrinking(rng: np.random.Generator) -> HistorySample:
    """Windows that shrink about a point; progress and stop follow from the last one's share of the frame's
    area.
    """
    width, height = rng.uniform(1000, 4000), rng.uniform(800, 3000)
    n = int(rng.integers(0, 5))
    share = 10 ** -np.cumsum(rng.uniform(0.2, 1.2, n))  # of the frame's area
    w, h = np.sqrt(share) * width, np.sqrt(share) * height
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    boxes = np.vstack([[0, 0, width, height], np.stack([x, y, w, h], axis=1)])
    last = share[-1] if n else 1.0
    return HistorySample(boxes, progress=float(min(1.0, -np.log10(last) / 4)), stop=bool(last < 1e-2))


def test_it_learns_a_simple_rule() -> None:
    losses: list[float] = []
    model = train_progress(
        shrinking, steps=400, seed=0, config=SMALL, log=lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 400
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:20])

    rng = np.random.default_rng(1)
    samples = [shrinking(rng) for _ in range(500)]
    progress, stop = model.read([s.boxes_xywh for s in samples], step=None)
    wanted = np.array([s.progress for s in samples])
    stops = np.array([s.stop for s in samples])
    assert np.abs(progress.numpy() - wanted).mean() < 0.5 * np.abs(wanted - wanted.mean()).mean()
    assert ((stop.numpy() > 0.5) == stops).mean() > 0.9
    assert 0.1 < stops.mean() < 0.9


def test_the_same_seed_gives_the_same_encoder_and_leaves_other_randomness_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first = train_progress(shrinking, steps=3, seed=5, batch=4, config=SMALL)
    assert torch.equal(torch.rand(3), wanted)
    same = train_progress(shrinking, steps=3, seed=5, batch=4, config=SMALL)
    other = train_progress(shrinking, steps=3, seed=6, batch=4, config=SMALL)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())


def test_both_labels_count_in_the_loss() -> None:
    model = train_progress(shrinking, steps=1, seed=0, batch=2, config=SMALL)
    output = model(*pad_histories([[[0, 0, 100, 100]]]))
    right = progress_loss(output, output.progress, (output.stop_logit > 0).float())
    assert progress_loss(output, output.progress + 0.5, (output.stop_logit > 0).float()) > right + 0.4
    assert progress_loss(output, output.progress, (output.stop_logit <= 0).float()) > right
