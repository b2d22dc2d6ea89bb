"""Structured logs: one JSON object a line, on stderr."""

import json
import logging
import sys
import time
import traceback
from typing import Any

LOGGER = logging.getLogger("piza.server")
MAX_TRACE = 8000  # characters of a traceback


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; what was given as `extra={"fields": {...}}` are its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))[-MAX_TRACE:]
        return json.dumps(
            line, ensure_ascii=True, default=str
        )  # ASCII: nothing a client sent reaches a terminal


def log(event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line."""
    LOGGER.log(level, event, exc_info=error, extra={"fields": fields})


def log_to_stderr() -> None:
    """Send the server's lines, and what uvicorn has to say, to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name, level in (("piza.server", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
