"""Few-label heads: what labelled frames teach about a goal, and whether it is worth taking."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.heads.fit import FittedHead as FittedHead
    from relabel.heads.fit import fit_head as fit_head
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {"FittedHead": "relabel.heads.fit", "fit_head": "relabel.heads.fit"},
    )
