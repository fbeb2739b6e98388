"""What the server says while it runs: one line an event on stderr, as text or JSON."""

import json
import logging
import sys
from copy import copy
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
# What ends a line somewhere, or moves a terminal's cursor.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


class TextFormatter(logging.Formatter):
    """Time, level and message; a message that holds what a client sent stays on one line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback if there is one."""
        told = copy(record)
        told.msg, told.args = record.getMessage().translate(CONTROLS), ()
        return super().format(told)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and what `extra` has as `event`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


def log_to_stderr(log_format: LogFormat) -> None:
    """Send requests and what goes wrong to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("mumic").setLevel(logging.INFO)
