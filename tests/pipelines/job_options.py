"""What the fixtures `embedding` and `scoring` are: options, with changes by keyword."""

from __future__ import annotations

from collections.abc import Callable

from relabel.jobs.options import EmbedOptions, ScoreOptions

Embedding = Callable[..., EmbedOptions]
Scoring = Callable[..., ScoreOptions]
