"""How the tables of a job are begun: all of them, or none if one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from relabel.jobs.plans import embeddings_of
from schemas.manifests import AnyTableManifest, EmbeddingManifest, RewardManifest
from schemas.names import check_name
from schemas.store import Store

_Table = TypeVar("_Table", bound=AnyTableManifest)


def check_all(store: Store, tables: Sequence[AnyTableManifest], *, overwrite: bool) -> None:
    """Refuses tables that a job would not be let to write.

    Args:
        store: of the tables.
        tables: of one job.
        overwrite: tables that differ are to be replaced.

    Raises:
        StoreError: another table has the name of one of them.
    """
    for table in tables if not overwrite else ():
        store.check(table)


def begin_all(store: Store, tables: Sequence[_Table], *, overwrite: bool) -> list[_Table]:
    """Begins or resumes the tables of a job that are not complete.

    Args:
        store: of the tables.
        tables: of one job.
        overwrite: replace those that differ.

    Returns:
        Those that are not complete.

    Raises:
        StoreError: as `check_all`; nothing is begun then.
    """
    check_all(store, tables, overwrite=overwrite)
    return [table for table in tables if not store.begin(table, overwrite=overwrite)]


def check_rewards_of(store: Store, name: str, embeddings: Sequence[EmbeddingManifest]) -> None:
    """Refuses a name whose rewards are of other embeddings, before any frame is embedded.

    What else they are made of may be known only when every frame is embedded.

    Args:
        store: of the rewards; it may not be there yet.
        name: of the reward set.
        embeddings: tables that are to be scored.

    Raises:
        StoreError: another reward set has this name.
    """
    check_name("--name", name)
    stored = store.recorded(f"rewards/{name}")
    if isinstance(stored, RewardManifest):
        store.check(stored.model_copy(update=embeddings_of(embeddings)))
