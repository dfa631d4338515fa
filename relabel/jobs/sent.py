"""What is sent to workers of a reward set: all but the numbers of its reward function.

A calibration has some for every goal. They lie in the plan of the table, in the store, from where a
worker takes them, so that the graph of a job does not grow with the goals.
"""

from __future__ import annotations

from typing import TypeVar

from schemas.errors import StoreError
from schemas.manifests import AnyTableManifest, RewardManifest
from schemas.store import Store

_M = TypeVar("_M", bound=AnyTableManifest)


def to_send(manifest: _M) -> _M:
    """A manifest as it is sent: that of a reward set without its function."""
    if not isinstance(manifest, RewardManifest):
        return manifest
    return manifest.model_copy(update={"function": {}})


def as_planned(store: Store, sent: _M) -> _M:
    """The manifest that `to_send` was given; one that was not sent is as it was.

    Raises:
        StoreError: its table is no longer there.
    """
    if not isinstance(sent, RewardManifest) or sent.function:
        return sent
    there = store.recorded(sent.table)
    if not isinstance(there, RewardManifest):
        raise StoreError(
            f"{store.location}/{sent.table}: was begun and is gone; type the command again"
        )
    return sent.model_copy(update={"function": there.function})
