"""The playroom: a MiniGrid room with language goals, the stand-in for the paper's Playhouse."""

from vlm_relabel.cli.quiet import quiet

quiet()  # here, because it works only before d3rlpy is imported
