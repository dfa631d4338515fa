"""What a source holds, and what to do with it."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.inspection.inspection import SourceReport as SourceReport
    from relabel.inspection.inspection import inspect_source as inspect_source
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "SourceReport": "relabel.inspection.inspection",
            "inspect_source": "relabel.inspection.inspection",
        },
    )
