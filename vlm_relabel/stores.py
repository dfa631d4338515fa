"""A store as NumPy arrays and Arrow tables. Reads no frame, and needs no encoder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.manifests import AnyTableManifest, EmbeddingManifest
from schemas.slices import Slice, record_id
from schemas.store import Store
from schemas.tables import matrix

Floats = NDArray[np.float32]
Episodes = str | Sequence[str] | None  # ids of episodes; None: all


class EpisodeRewards(NamedTuple):
    """One episode of T frames, under G goals."""

    episode_id: str
    scores: Floats | None  # (T, G), one per frame; None: they are not stored
    rewards: Floats  # (T, G), one per action


def open_store(location: str | os.PathLike[str], *, trust: bool = False) -> OpenedStore:
    """Opens a store for reading.

    Args:
        location: folder, or URL (s3://, gs://).
        trust: compare only the sizes of files that are read; else checksums too, once each.

    Raises:
        StoreError: there is none, or its manifest cannot be read.

    Example:
        >>> open_store("my.store")  # doctest: +ELLIPSIS
        <store my.store: 20 episodes in 2 slices; reward sets: v1; goal datasets: gc1; embeddings...
    """
    return OpenedStore(Store.open(os.fspath(location), trust=trust))


class OpenedStore:
    """What a store holds, T frames in all, in the order of the source.

    Row t of every array, and of `steps`, is the same frame. A reward belongs to the action that
    was taken at its frame:

        frame       o_0 ──a_0──▶ o_1 ──a_1──▶ o_2 … o_{T-1}
        scores      s_0          s_1          s_2   s_{T-1}
        rewards     r_0          r_1          …     NaN, unless rewards look at the same frame

    Each method reads its table anew and keeps nothing. Without `episodes`, an array is as large
    as its table: 4 bytes times T times G. `episodes` asks for some of them, by id, in the order
    given; `each_episode` goes through all of them with the memory of one row group and one episode.

    Args:
        store: the same one as tables, slices and manifests.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    # --- what is there

    @property
    def location(self) -> str:
        """Folder or URL."""
        return self.store.location

    @property
    def reward_sets(self) -> tuple[str, ...]:
        """Names of the complete reward sets."""
        return self._names("rewards")

    @property
    def goal_datasets(self) -> tuple[str, ...]:
        """Names of the complete goal datasets."""
        return self._names("goal_datasets")

    @property
    def embedding_tables(self) -> tuple[str, ...]:
        """Names of the complete embedding tables: encoder and camera."""
        return self._names("embeddings")

    def _names(self, kind: str) -> tuple[str, ...]:
        tables = self.store.tables()
        return tuple(t.removeprefix(f"{kind}/") for t in tables if t.startswith(f"{kind}/"))

    def __repr__(self) -> str:
        manifest = self.store.manifest
        slices = len(self.store.slices)
        parts = [f"{manifest.episodes} episodes in {slices} slice{'s' * (slices != 1)}"]
        for title, names in (
            ("reward sets", self.reward_sets),
            ("goal datasets", self.goal_datasets),
            ("embeddings", self.embedding_tables),
        ):
            if names:
                parts.append(f"{title}: {', '.join(names)}")
        return f"<store {self.location}: {'; '.join(parts)}>"

    # --- rewards

    def scores(self, name: str, *, episodes: Episodes = None) -> Floats:
        """Scores of a reward set.

        Args:
            name: of the reward set.
            episodes: ids; None: all.

        Returns:
            (T, G) float32: how well frame t shows goal g, as the reward function says. NaN where
            an embedding is missing.

        Raises:
            StoreError: no such reward set, or it is unfinished, damaged or stored without scores;
                no such episode.
        """
        rewards = self.store.rewards(name)
        if not rewards.scores:
            raise StoreError(
                f"{self.location}/{rewards.table}: expected scores, and it was stored without "
                "them (--no-scores); score the goals again under another name"
            )
        return self._array(rewards, fields.SCORE, rewards.goals, "float32", episodes)

    def rewards(self, name: str, *, episodes: Episodes = None) -> Floats:
        """Rewards of a reward set.

        Args:
            name: of the reward set.
            episodes: ids; None: all.

        Returns:
            (T, G) float32: the reward of the action at frame t, for goal g. NaN where there is no
            reward: at the last frame of an episode, if rewards look at the next one, and where
            the score is missing.

        Raises:
            StoreError: no such reward set, or it is unfinished or damaged; no such episode.
        """
        rewards = self.store.rewards(name)
        return self._array(rewards, fields.REWARD, rewards.goals, "float32", episodes)

    def each_episode(self, name: str) -> Iterator[EpisodeRewards]:
        """Scores and rewards of a reward set, episode after episode, but for those of no frame.

        Args:
            name: of the reward set.

        Raises:
            StoreError: as `rewards`.
        """
        rewards = self.store.rewards(name)
        scores = [fields.SCORE] if rewards.scores else []
        columns = [fields.EPISODE_ID, fields.STEP, *scores, fields.REWARD]
        for piece in self.store.slices:
            for rows in _by_episode(self.store.batches(rewards.table, piece, columns)):
                yield EpisodeRewards(
                    rows.column(fields.EPISODE_ID)[0].as_py(),
                    matrix(rows.column(fields.SCORE)) if scores else None,
                    matrix(rows.column(fields.REWARD)),
                )

    def timing(self, name: str) -> Timing:
        """Which frame the rewards of a reward set look at.

        Raises:
            StoreError: as `rewards`.
        """
        return self.store.rewards(name).timing

    # --- goals

    def goals(self, name: str) -> pa.Table:
        """The goals of a reward set as they were used; row g is column g of its arrays.

        Columns are `goal_id`, `family`, `texts`, `negatives`, `threshold`, `text_embedding` and
        others (docs/format.md).

        Raises:
            StoreError: no such reward set, or it is unfinished or damaged.
        """
        return self.store.goals(name)

    def goal_set(self, name: str) -> GoalSet:
        """The goals of a reward set as they were given: texts, families, negatives.

        Raises:
            StoreError: as `goals`.
        """
        return self.store.goal_set(name)

    def goal_dataset(self, name: str) -> pa.Table:
        """The trajectories of a goal dataset, one per row: episode, goal, start, stop, rewards.

        `vlm_relabel.GoalDataset` makes batches of them.

        Raises:
            StoreError: no such dataset, or it is unfinished or damaged.
        """
        return self.store.read(f"goal_datasets/{name}")

    # --- the source

    def episodes(self) -> pa.Table:
        """One row per episode: `episode_id`, `length`, `language`, and what the source says of it.

        Raises:
            StoreError: the table is unfinished or damaged.
        """
        return self.store.read("episodes")

    def steps(self, columns: Sequence[str] | None = None, *, episodes: Episodes = None) -> pa.Table:
        """One row per frame: `episode_id`, `step`, actions, states, flags and texts.

        A vector or matrix of the source is a list of fixed size in row-major order; its shape is
        in the metadata of the column's field.

        Args:
            columns: to read; None: all.
            episodes: ids; None: all.

        Raises:
            StoreError: the table is unfinished or damaged; no such column or episode.
        """
        known = [fields.EPISODE_ID, fields.STEP, *(f.name for f in self.store.manifest.fields)]
        unknown = [name for name in columns or () if name not in known]
        if unknown:
            raise StoreError(
                f"{self.location}/steps: no column {', '.join(unknown)}; there are "
                f"{', '.join(known)}"
            )
        if episodes is None:
            return self.store.read("steps", columns)
        return self._rows("steps", columns, episodes)

    def embeddings(self, name: str, *, episodes: Episodes = None) -> NDArray[np.floating]:
        """Embeddings of the frames of one camera under one encoder.

        Args:
            name: of the table, or a beginning of it that fits no other; see `embedding_tables`.
            episodes: ids; None: all.

        Returns:
            (T, D) float16 or float32, as stored, of unit norm; NaN where the frame could not be
            decoded.

        Raises:
            StoreError: no such table, several that begin so, unfinished or damaged; no such
                episode.
        """
        table = self.store.table_manifest(f"embeddings/{self._embedding_table(name)}")
        if not isinstance(table, EmbeddingManifest):
            raise StoreError(f"{self.location}/embeddings/{name}: its manifest is of another kind")
        return self._array(table, fields.EMBEDDING, table.encoder.dim, table.dtype, episodes)

    def _embedding_table(self, name: str) -> str:
        known = self.embedding_tables
        found = [name] if name in known else [other for other in known if other.startswith(name)]
        if len(found) > 1 or not name:
            raise StoreError(
                f"{self.location}: embeddings {name!r} fits {len(found)} tables; expected one of "
                f"{', '.join(known) or 'none'}"
            )
        return found[0] if found else name  # why it cannot be read is said by whoever reads it

    # --- reading

    def _array(
        self, table: AnyTableManifest, column: str, width: int, dtype: str, episodes: Episodes
    ) -> NDArray[Any]:
        """(T, width) values of one column of a per-frame table; null is NaN."""
        if episodes is not None:
            return matrix(self._rows(table.table, [column], episodes).column(column), dtype)
        slices = {piece.file for piece in self.store.slices}  # beside them are the goals' files
        own = (f for f in table.files if f.table == table.table and f.file in slices)
        frames = sum(file.rows for file in own)
        out, row = np.empty((frames, width), dtype), 0
        for piece in self.store.slices:
            for batch in self.store.batches(table.table, piece, [column]):
                matrix(batch.column(0), out=out[row : row + len(batch)])
                row += len(batch)
        return out

    def _rows(
        self, table: str, columns: Sequence[str] | None, episodes: str | Sequence[str]
    ) -> Any:
        """The rows of some episodes, in the order asked for, as an Arrow table."""
        self.store.table_manifest(table)
        asked = [episodes] if isinstance(episodes, str) else list(episodes)
        ids = pa.array(asked, pa.string())
        read = None if columns is None else list(dict.fromkeys([fields.EPISODE_ID, *columns]))
        parts = [
            batch.filter(pc.is_in(batch.column(fields.EPISODE_ID), value_set=ids))
            for piece in self._slices_of(asked)
            for batch in self.store.batches(table, piece, read)
        ]
        if not parts:
            return self.store.read_slices(table, self.store.slices[:1], columns).slice(0, 0)
        rows = pa.Table.from_batches(parts)
        places = pc.index_in(rows.column(fields.EPISODE_ID), value_set=ids).to_numpy()
        rows = rows.take(pa.array(np.argsort(places, kind="stable")))
        return rows if columns is None else rows.select(list(columns))

    def _slices_of(self, episodes: Sequence[str]) -> list[Slice]:
        """The slices that hold some episodes.

        Raises:
            StoreError: an episode is not in the store, or asked for twice.
        """
        if len(set(episodes)) != len(episodes):
            twice = next(one for one in episodes if list(episodes).count(one) > 1)
            raise StoreError(f"episodes: {twice} is asked for twice; name each episode once")
        records = set(map(record_id, episodes))
        pieces = [piece for piece in self.store.slices if piece.holds_any(records)]
        known: set[str] = set()
        for piece in pieces:
            ids = self.store.read_slices("episodes", [piece], [fields.EPISODE_ID])
            known.update(ids.column(fields.EPISODE_ID).to_pylist())
        if unknown := [episode for episode in episodes if episode not in known]:
            raise StoreError(
                f"{self.location}: no episode {', '.join(map(repr, unknown[:5]))}; ids look like "
                "'train/0/0', and episodes() lists them"
            )
        return pieces


def _by_episode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Rows of whole episodes, cut where a step 0 begins the next one."""
    begun: list[pa.RecordBatch] = []
    for batch in batches:
        starts = np.flatnonzero(batch.column(fields.STEP).to_numpy() == 0)
        borders = [0, *(int(start) for start in starts if start), len(batch)]
        for start, stop in itertools.pairwise(borders):
            part = batch.slice(start, stop - start)
            if begun and len(part) and part.column(fields.STEP)[0].as_py() == 0:
                yield pa.Table.from_batches(begun)
                begun = []
            begun.append(part)
    if begun:
        yield pa.Table.from_batches(begun)
