"""Keeps a dependency of d3rlpy from telling every user of the examples to leave it."""

from __future__ import annotations

from gym_notices import notices


def quiet() -> None:
    """Empties the list that `gym` prints from when it is imported, in its own words.

    d3rlpy imports `gym` beside `gymnasium`; nothing here uses it. Call this before d3rlpy is
    imported. Other warnings are shown as ever.
    """
    notices.notices.clear()
