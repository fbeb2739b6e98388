"""Logging: one line per event on stderr, as text or JSON."""

import json
import logging
import sys
from copy import copy
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
# Characters that end a line in some viewers or move a terminal's cursor.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


class TextFormatter(logging.Formatter):
    """Time, level and message. Control characters are escaped: clients cannot forge lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        escaped = copy(record)
        escaped.msg, escaped.args = record.getMessage().translate(CONTROLS), ()
        return super().format(escaped)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message and the fields of `extra["event"]`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its line feed."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def log_to_stderr(log_format: LogFormat) -> None:
    """Log requests and warnings to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("mumic").setLevel(logging.INFO)
