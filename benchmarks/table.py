"""What the cases say, as rows of one table, and the table as Markdown."""

from typing import Any

import numpy as np
from sides import Side

SAME = 0.5  # pixels of the frame


def row(
    letter: str,
    title: str,
    naive: Side,
    piza: Side,
    same: str = "",
    own: Side | None = None,
    published: Side | None = None,
    looks: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """One comparison. own: the model's own search, which may take other looks; looks: of piza and of that. published: the
    naive search with the first look's input size for all looks."""

    def numbers(side: Side) -> dict[str, Any]:
        return {"ms": side.wall, "cpu_ms": side.cpu, "peak_mb": side.peak_mb, "parts": side.parts}

    found: dict[str, Any] = {"case": letter, "title": title, "naive": numbers(naive), "piza": numbers(piza)}
    found |= {"times": naive.wall / piza.wall, "times_cpu": naive.cpu / piza.cpu, "same": same}
    if own:
        found |= {"own": numbers(own), "own_times": naive.wall / own.wall}
    if published:
        found |= {"published": numbers(published), "published_times": published.wall / piza.wall}
    if looks:
        found["looks"] = looks
    return found


def agreement(boxes: Any, wanted: Any) -> str:
    """How far answers lie from those of the same search without any short cut."""
    far = np.abs(np.array(boxes, dtype=float) - np.array(wanted, dtype=float)).max(-1)
    near = int((far <= SAME).sum())
    return f"{near} of {len(far)} boxes within {SAME} px (median {np.median(far):.2g} px)"


def markdown(found: list[dict[str, Any]]) -> str:
    """All rows, then where the time goes."""
    head = ["", "what", "naive", "piza", "times faster", "in CPU time", "naive at one size", "times faster"]
    head += ["peak MB, naive", "peak MB, piza", "own search"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 3) + "---|"]
    for one in found:
        own = f"{_time(one['own']['ms'])}, {one['looks'][1]:.1f} looks" if "own" in one else ""
        what = one["title"] + (f", {one['looks'][0]:.1f} looks" if "looks" in one else "")
        cells = [one["case"], what, _time(one["naive"]["ms"]), _time(one["piza"]["ms"])]
        cells += [f"{one['times']:.1f}", f"{one['times_cpu']:.1f}"]
        full = "published" in one
        cells += [_time(one["published"]["ms"]), f"{one['published_times']:.1f}"] if full else ["", ""]
        cells += [*(f"{one[side]['peak_mb']:.0f}" for side in ("naive", "piza")), own]
        lines.append("| " + " | ".join(cells) + " |")
    agreed = [f"- {one['case']}, {one['title']}: {one['same']}." for one in found if one["same"]]
    rated = [
        f"- {one['case']}: Acc50 "
        + ", ".join(f"{name} {value:.1f}" for name, value in one["acc50"].items())
        + "."
        for one in found
        if "acc50" in one
    ]
    return "\n".join([*lines, "", *agreed, *rated, "", *_profile(found)]) + "\n"


def _profile(found: list[dict[str, Any]]) -> list[str]:
    order = ("decode", "decode, beside", "resize", "resize, beside", "text", "picture", "ground", "other")
    known = {part for one in found for side in ("naive", "piza") for part in one[side]["parts"]}
    names = [part for part in order if part in known]
    if not names:
        return []
    lines = [
        "| milliseconds of a run | side | " + " | ".join(names) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for one in found:
        for side in ("naive", "piza"):
            parts = one[side]["parts"]
            if len(parts) > 1:
                cells = [f"{parts[n]:.0f}" if n in parts else "" for n in names]
                lines.append(f"| {one['case']}, {one['title']} | {side} | " + " | ".join(cells) + " |")
    return lines


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 2000 else f"{milliseconds / 1000:.1f} s"
