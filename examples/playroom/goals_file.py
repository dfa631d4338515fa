"""Writes goals.yaml from the goals and captions, so that the file and the code cannot disagree.

python -m examples.playroom.goals_file > examples/playroom/goals.yaml
python -m examples.playroom.goals_file --hard > examples/playroom/goals-hard.yaml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.playroom.captions import EMPTY_ROOM, NULLS, goal_texts
from examples.playroom.goals import FAMILIES, HARD, PLAYROOM, World

GOALS_YAML = Path(__file__).with_name("goals.yaml")
HARD_GOALS_YAML = Path(__file__).with_name("goals-hard.yaml")

_HEADER = """\
# The {of} language goals. Written by `python -m examples.playroom.goals_file{how}`; do not edit.
#
# The null prompt of a family says that none of its goals holds. The order of the goals is the order
# of the `truth` array of every step that `examples.playroom.collect` writes.
"""


def goals_yaml(world: World = PLAYROOM) -> str:
    """Returns the text of goals.yaml, or of goals-hard.yaml."""
    hard = world is HARD
    of, how = ("hard playroom's", " --hard") if hard else ("playroom's", "")
    header = _HEADER.format(of=of, how=how)
    lines = [
        header + f"name: playroom{'-hard' if hard else ''}",
        'templates: ["{}"]',
        f'null_prompts: ["{EMPTY_ROOM[0]}"]',
    ]
    lines += ["families:"]
    lines += [f'  {family}: {{null_prompts: ["{NULLS[family][0]}"]}}' for family in FAMILIES]
    lines += ["goals:"]
    for goal in world.goals:
        texts = ", ".join(f'"{text}"' for text in goal_texts(goal))
        lines += [f"  - id: {goal.id}", f"    family: {goal.family}", f"    texts: [{texts}]"]
    lines += ["# Two pairs that share a thing can both hold: the thing in front has several sides."]
    lines += ["may_be_true_together:"]
    lines += [f"  - [{', '.join(group)}]" for group in _groups_sharing_a_thing(world)]
    return "\n".join(lines) + "\n"


def _groups_sharing_a_thing(world: World) -> list[list[str]]:
    places = [goal for goal in world.goals if goal.family == "place"]
    groups = [[g.id for g in places if thing in g.things] for thing in range(len(world.things))]
    return [group for group in groups if len(group) > 1]


def main() -> None:
    """Prints goals.yaml."""
    parser = argparse.ArgumentParser(description="Print the playroom's goals.yaml.")
    parser.add_argument("--hard", action="store_true", help="of the hard playroom")
    sys.stdout.write(goals_yaml(HARD if parser.parse_args().hard else PLAYROOM))


if __name__ == "__main__":
    main()
