"""How far a long command is, on stderr: a bar with pace and time left on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import Any

from piza.cli.common import note

SECONDS_BETWEEN_LINES = 60


class Progress:
    """Counts up to a total. unit: what is counted, singular. Use it in a `with` block."""

    def __init__(self, unit: str):
        self._unit, self._bar = unit, None
        self._begin = self._last = time.monotonic()
        self._before: int | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, total: int | None, failed: int = 0) -> None:
        """Show that `done` of `total` (None: not known) are done, `failed` of them in vain; the first call says where this run
        begins."""
        if self._before is None:
            self._before = done
            self._bar = self._make_bar(done, total) if sys.stderr.isatty() else None
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if (
            now - self._last >= SECONDS_BETWEEN_LINES
            and self._before < done
            and (total is None or done < total)
        ):
            pace, self._last = (done - self._before) / (now - self._begin), now
            failures = f", {failed} failed" if failed else ""
            of_all, left = "", ""
            if total is not None:
                of_all, left = f" of {total}", f", {(total - done) / pace / 60:.0f} minutes left"
            note(f"{done}{of_all} {self._unit}s{failures}, {pace:.2g} a second{left}")

    def _make_bar(self, done: int, total: int | None) -> Any:
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(initial=done, total=total, unit=self._unit, dynamic_ncols=True, smoothing=0.05)
