"""Keeps d3rlpy and a dependency of it from printing among what commands print."""

from __future__ import annotations

import logging

import structlog
from gym_notices import notices


def quiet() -> None:
    """Leaves out two notices; warnings are shown as ever. Call this before d3rlpy is imported.

    d3rlpy imports `gym` beside `gymnasium`, and nothing here uses it: `gym` tells its users to
    leave. d3rlpy's loggers repeat on standard output what they write.
    """
    notices.notices.clear()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
