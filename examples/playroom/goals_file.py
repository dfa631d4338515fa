"""Writes goals.yaml from the goals and captions, so that the file and the code cannot disagree.

python -m examples.playroom.goals_file > examples/playroom/goals.yaml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.playroom.captions import EMPTY_ROOM, NULLS, goal_texts
from examples.playroom.goals import FAMILIES, GOALS, THINGS

GOALS_YAML = Path(__file__).with_name("goals.yaml")

_HEADER = """\
# The playroom's language goals. Written by `python -m examples.playroom.goals_file`; do not edit.
#
# The null prompt of a family says that none of its goals holds. The order of the goals is the order
# of the `truth` array of every step that `examples.playroom.collect` writes.
"""


def goals_yaml() -> str:
    """Returns the text of goals.yaml."""
    lines = [_HEADER + "name: playroom", 'templates: ["{}"]', f'null_prompts: ["{EMPTY_ROOM[0]}"]']
    lines += ["families:"]
    lines += [f'  {family}: {{null_prompts: ["{NULLS[family][0]}"]}}' for family in FAMILIES]
    lines += ["goals:"]
    for goal in GOALS:
        texts = ", ".join(f'"{text}"' for text in goal_texts(goal))
        lines += [f"  - id: {goal.id}", f"    family: {goal.family}", f"    texts: [{texts}]"]
    lines += ["# Two pairs that share a thing can both hold: the thing in front has several sides."]
    lines += ["may_be_true_together:"]
    lines += [f"  - [{', '.join(group)}]" for group in _groups_sharing_a_thing()]
    return "\n".join(lines) + "\n"


def _groups_sharing_a_thing() -> list[list[str]]:
    places = [goal for goal in GOALS if goal.family == "place"]
    return [[goal.id for goal in places if thing in goal.things] for thing in range(len(THINGS))]


def main() -> None:
    """Prints goals.yaml."""
    argparse.ArgumentParser(description="Print the playroom's goals.yaml.").parse_args()
    sys.stdout.write(goals_yaml())


if __name__ == "__main__":
    main()
