"""Where the time of a run goes: functions are watched from outside, so nothing in the package knows of it."""

import functools
import threading
import time
from collections import defaultdict
from typing import Any


class MicroBatches:
    """Seconds by part. A watched function that calls another one is charged for the rest only; what runs in a thread
    beside the main one is a part of its own."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._open = threading.local()

    def clear(self) -> None:
        self._seconds.clear()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Replaces `owner.name` by itself with a clock."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def watched(*args: Any, **kwargs: Any) -> Any:
            calls = self._open.__dict__.setdefault("calls", [])
            calls.append(0.0)
            started = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                within = calls.pop()
                if calls:
                    calls[-1] += took
                aside = threading.current_thread() is not threading.main_thread()
                self._seconds[f"{part}, beside" if aside else part] += took - within

        setattr(owner, name, watched)

    def milliseconds(self, whole: float) -> dict[str, float]:
        """Of each part, and of all others; `whole` is in seconds."""
        found = {part: 1000 * seconds for part, seconds in self._seconds.items()}
        known = sum(value for part, value in found.items() if not part.endswith("beside"))
        return {**found, "other": 1000 * whole - known}


def watch_piza(parts: MicroBatches, model: Any) -> None:
    """The parts of piza's search: opening, cutting, text, picture, grounding and the rest."""
    import piza.evaluation.run
    import piza.search.predictor

    for module in (piza.search.predictor, piza.evaluation.run):
        parts.watch(module, "decode_image", "decode")
    parts.watch(piza.search.predictor, "cut", "resize")
    parts.watch(model, "encode_text", "text")
    for name in ("encode_images", "encode_frame"):
        parts.watch(model, name, "picture")
    for name in ("ground", "read"):
        parts.watch(model, name, "ground")


def watch_library(parts: MicroBatches, model: Any) -> None:
    """The parts of the library's forward: its grounding is what is left of it."""
    parts.watch(model.detector.model.text_backbone, "forward", "text")
    parts.watch(model.detector.model.backbone, "forward", "picture")
    parts.watch(model.detector, "forward", "ground")
