"""Evidence that was put in is found again; the figures of merit agree with their definitions."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from piza.config import Evidence, SearchConfig
from piza.data.sorec import read_rows
from piza.evaluation.calibration import Choice, choice_of, fit, negative_log_likelihood, recorders
from piza.evaluation.metrics import auroc, calibration_error
from piza.search.best_first import best_first


def drawn_choices(evidence, count, seed=0):
    """Rows whose right hypothesis is drawn as `evidence` says."""
    rng = np.random.default_rng(seed)
    choices = []
    for _ in range(count):
        odds = [[float(v) for v in rng.normal(-1, 2, 2)] for _ in range(4)]
        values = np.array([evidence.of(o) for o in odds] + [evidence.none])
        p = np.exp(values - values.max())
        right = int(rng.choice(5, p=p / p.sum()))
        choices.append(Choice(odds, [k == right for k in range(4)]))
    return choices


def test_fitting_finds_what_was_put_in():
    truth = Evidence(first=0.7, later=1.4, bias=0.5, none=-1.0)
    choices = drawn_choices(truth, 1500)
    found = fit(choices)
    assert negative_log_likelihood(found, choices) <= negative_log_likelihood(truth, choices) + 1e-3
    assert abs(found.first - truth.first) < 0.15 and abs(found.later - truth.later) < 0.25


def test_auroc():
    assert auroc([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 1
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert np.isnan(auroc([0.5], [True]))


def test_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    assert calibration_error(p, rng.uniform(0, 1, 20_000) < p) < 0.02
    assert calibration_error([0.95] * 100, [False] * 100) == pytest.approx(0.95)


def test_replayed_searches_are_the_searches(tiny_piza, tmp_path):
    from piza.data.scenes import write

    write(tmp_path, count=1, seed=3, size=(640, 360), expressions_per_image=3)
    rows = read_rows(tmp_path / "rows.json")
    config = SearchConfig(budget=4, max_looks=3)
    for recorder in recorders(tiny_piza, rows, tmp_path / "images"):
        found = recorder.search(config)
        again = recorder.search(config)
        assert [tuple(w) for w in found.looked] == [tuple(w) for w in again.looked]
        assert len(recorder.seen) == len(found.looked) and recorder.cost(found) > 0
        direct = best_first(recorder.looker, config)
        np.testing.assert_allclose(direct.answer.boxes[-1], found.answer.boxes[-1])
        recorder.forget_image()
        np.testing.assert_allclose(recorder.search(config).answer.boxes[-1], found.answer.boxes[-1])
        choice = choice_of(found, recorder.row.box_xyxy)
        assert len(choice.odds) == len(choice.right) and choice.after_first_look().right == choice.right
        assert all(len(odds) == 1 for odds in choice.after_first_look().odds)
