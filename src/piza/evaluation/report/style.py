"""The styles of the pages about an evaluation, in the light and in the dark, and the script of the report."""

from pathlib import Path

from piza.visualize.primitives import BOX_COLOR, WINDOW_COLORS

# One color a run, told apart by color-blind readers (Okabe & Ito), darker or brighter by the page's ground.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b5548c", "#b87f00", "#3b8fc4", "#555555", "#8a6d00")
_DARK = ("#5ab4f0", "#ff8a3d", "#35cfa0", "#e29ac4", "#f0b93a", "#9ad4fa", "#bbbbbb", "#d9c25a")


def overview_style() -> str:
    """CSS of the report: a class s0, s1, ... for each run, w0, w1, ... for windows, `answer` and `target`."""
    rules = [
        f":root{{--answer:rgb{BOX_COLOR};{_run_colors(_LIGHT)}}}",
        f"@media(prefers-color-scheme:dark){{:root{{{_run_colors(_DARK)}}}}}",
        _file("overview.css"),
        *(f".w{number}{{stroke:rgb{color}}}" for number, color in enumerate(WINDOW_COLORS)),
        *(f".s{number}{{--c:var(--c{number})}}" for number in range(len(_LIGHT))),
    ]
    return "\n".join(rules)


def overview_script() -> str:
    """JavaScript of the report: the buttons that filter its rows."""
    return _file("overview.js")


def page_style() -> str:
    """CSS of the page of misses: classes w0, w1, ... for windows, `answer` and `target`."""
    colors = {f".w{number}": color for number, color in enumerate(WINDOW_COLORS)} | {".answer": BOX_COLOR}
    rules = (f"{name}{{stroke:rgb{color};border-color:rgb{color}}}" for name, color in colors.items())
    return "\n".join([_file("page.css"), *rules])


def _run_colors(colors: tuple[str, ...]) -> str:
    return "".join(f"--c{number}:{color};" for number, color in enumerate(colors))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
