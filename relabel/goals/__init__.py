"""Words to prompts, and prompts to vectors."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.goals.files import load_goals as load_goals
    from relabel.goals.instructions import commands as commands
    from relabel.goals.mined import MinedGoals as MinedGoals
    from relabel.goals.mined import mine_goals as mine_goals
    from relabel.goals.prompts import Prompts as Prompts
    from relabel.goals.prompts import resolve_prompts as resolve_prompts
    from relabel.goals.readings import Readings as Readings
    from relabel.goals.readings import read_prompts as read_prompts
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "MinedGoals": "relabel.goals.mined",
            "Prompts": "relabel.goals.prompts",
            "Readings": "relabel.goals.readings",
            "commands": "relabel.goals.instructions",
            "load_goals": "relabel.goals.files",
            "mine_goals": "relabel.goals.mined",
            "read_prompts": "relabel.goals.readings",
            "resolve_prompts": "relabel.goals.prompts",
        },
    )
