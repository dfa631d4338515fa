"""Writes goals.yaml from the captions, so that the file and the code cannot disagree.

python -m examples.phone.goals_file > examples/phone/goals.yaml
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.phone.apps import APPS
from examples.phone.captions import NULLS, goal_texts
from examples.phone.phone import GOALS

GOALS_YAML = Path(__file__).with_name("goals.yaml")

_HEADER = """\
# The phone's language goals. Written by `python -m examples.phone.goals_file`; do not edit.
#
# The order of the goals is the order of the `truth` array of every step.
"""


def goals_yaml() -> str:
    """Returns the text of goals.yaml."""
    lines = [_HEADER + "name: phone", 'templates: ["{}"]', f'null_prompts: ["{NULLS[0]}"]']
    lines += ["goals:"]
    for app in range(len(APPS)):
        texts = ", ".join(f'"{text}"' for text in goal_texts(app))
        lines += [f"  - id: {GOALS[app]}", "    family: open", f"    texts: [{texts}]"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(goals_yaml())
