"""What others say by logs and tracebacks, without the secrets in it."""

from __future__ import annotations

import logging
import sys
import traceback

from schemas.locations import redacted
from vlm_relabel.rooms import CURE, clashes


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The whole record, its traceback included."""
        return redacted(super().format(record))


def log_errors() -> None:
    """Logs what libraries call an error; they warn of features nobody asked for."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])


def show_unexpected(error: Exception) -> int:
    """The traceback of an error that nobody foresaw; the exit code that Python ends with."""
    sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    if isinstance(error, (ImportError, AttributeError)):  # as modules of others cause
        for other, shared in clashes().items():
            sys.stderr.write(f"{other} ships {', '.join(shared)} too: {CURE}\n")
    return 1
