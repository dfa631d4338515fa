"""Episodes that have no transition, and those of records that hold several."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from schemas import fields
from schemas.footers import Count
from schemas.slices import Slice
from schemas.store import Store


class ShortEpisodes(BaseModel):
    """How many of some episodes are short, and how many more there are than records."""

    model_config = ConfigDict(extra="ignore", strict=True)

    empty: Count = 0  # without a step
    single: Count = 0  # of one step
    later_parts: Count = 0  # behind the first of its record

    @classmethod
    def of(cls, ids: Sequence[str], lengths: Sequence[int]) -> ShortEpisodes:
        """Of some episodes."""
        places = [episode_id.rpartition("/")[2] for episode_id in ids]
        return cls(
            empty=sum(length == 0 for length in lengths),
            single=sum(length == 1 for length in lengths),
            later_parts=sum("." in place and not place.endswith(".0") for place in places),
        )

    def merge(self, other: ShortEpisodes) -> None:
        """Counts other episodes too."""
        self.empty += other.empty
        self.single += other.single
        self.later_parts += other.later_parts


def slice_short_episodes(store: Store, piece: Slice) -> ShortEpisodes:
    """Of one committed slice."""
    content = store.read_slices("episodes", [piece], [fields.EPISODE_ID, fields.LENGTH])
    ids = content.column(fields.EPISODE_ID).to_pylist()
    return ShortEpisodes.of(ids, content.column(fields.LENGTH).to_pylist())
