"""Shards to episodes: where a dataset is, what it describes, and its records as columns."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.source.episodes import Episode as Episode
    from relabel.source.features import read_features as read_features
    from relabel.source.opening import open_dataset as open_dataset
    from relabel.source.records import read_records as read_records
    from relabel.source.source import Source as Source
    from relabel.source.survey import survey_shards as survey_shards
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "Episode": "relabel.source.episodes",
            "Source": "relabel.source.source",
            "open_dataset": "relabel.source.opening",
            "read_features": "relabel.source.features",
            "read_records": "relabel.source.records",
            "survey_shards": "relabel.source.survey",
        },
    )
