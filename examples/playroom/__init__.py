"""The playroom: a MiniGrid room with language goals, the stand-in for the paper's Playhouse."""
