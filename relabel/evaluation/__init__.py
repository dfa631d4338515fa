"""Whether rewards can be trusted: scores beside what is known to be true."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.evaluation.confusions import Confusion as Confusion
    from relabel.evaluation.confusions import confusion as confusion
    from relabel.evaluation.evidence import Evidence as Evidence
    from relabel.evaluation.evidence import GoalFrames as GoalFrames
    from relabel.evaluation.evidence import of_field as of_field
    from relabel.evaluation.evidence import of_labels as of_labels
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "Confusion": "relabel.evaluation.confusions",
            "Evidence": "relabel.evaluation.evidence",
            "GoalFrames": "relabel.evaluation.evidence",
            "confusion": "relabel.evaluation.confusions",
            "of_field": "relabel.evaluation.evidence",
            "of_labels": "relabel.evaluation.evidence",
        },
    )
