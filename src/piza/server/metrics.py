"""Counters and histograms, written in the text format that Prometheus reads (version 0.0.4)."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of a histogram of times, in seconds."""

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What the server counts. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._counts: dict[str, dict[Labels, float]] = {}
        self._times: dict[str, dict[Labels, list[float]]] = {}  # a count a bucket, then the sum
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}

    def count(self, name: str, text: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._help.setdefault(name, ("counter", text))
            values = self._counts.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            values[key] = values.get(key, 0) + amount

    def time(self, name: str, text: str, seconds: float, **labels: str) -> None:
        """Add one duration to a histogram."""
        with self._lock:
            self._help.setdefault(name, ("histogram", text))
            row = self._times.setdefault(name, {}).setdefault(
                tuple(sorted(labels.items())), [0.0] * (len(SECONDS) + 2)
            )
            row[bisect_left(SECONDS, seconds)] += 1
            row[-1] += seconds

    def gauge(self, name: str, text: str, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Have `read` asked for the values of a gauge, by their labels, whenever metrics are."""
        self._help[name] = ("gauge", text)
        self._gauges[name] = read

    def text(self) -> str:
        """All of it, in the exposition format."""
        gauges = {name: dict(read()) for name, read in self._gauges.items()}
        lines: list[str] = []
        with self._lock:
            for name, (kind, text) in sorted(self._help.items()):
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
                for labels, value in {**self._counts.get(name, {}), **gauges.get(name, {})}.items():
                    lines.append(f"{name}{_braces(labels)} {_number(value)}")
                for labels, row in self._times.get(name, {}).items():
                    lines += _histogram(name, labels, row)
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: Labels, row: list[float]) -> Iterator[str]:
    total = 0.0
    for bound, number in zip([*map(str, SECONDS), "+Inf"], row[:-1], strict=True):
        total += number
        yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {_number(total)}"
    yield f"{name}_sum{_braces(labels)} {_number(row[-1])}"
    yield f"{name}_count{_braces(labels)} {_number(total)}"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
