"""The captions of the phone: wordings of its goals, null prompts, and phrasings held out."""

from __future__ import annotations

from examples.phone.apps import NAMES

INSTRUCTION = "open the {0} app"
"""How a goal is commanded; also the first text of the goal in goals.yaml."""

DESCRIPTION = "the {0} app is open"
"""How a reached goal is described; the second text of the goal in goals.yaml."""

PARAPHRASES = (
    "{0} is shown on the screen",
    "a phone with the {0} app in front",
    "the screen of the {0} app",
    "start {0}",
    "using the {0} app",
)
"""Further wordings that encoders are trained on."""

HELD_OUT = (
    "launch the {0} app",
    "the {0} app fills the screen of the phone",
    "{0} is open on a phone",
)
"""Wordings that no encoder is trained on."""

NULLS = ("the home screen", "a launcher page with icons of apps", "no app is open")
"""Wordings of: no app is open. The first is the null prompt."""


def instruction(app: int) -> str:
    """Returns the wording that commands the app's goal: ``open the clock app``."""
    return INSTRUCTION.format(NAMES[app])


def goal_texts(app: int) -> list[str]:
    """Returns the goal's texts in goals.yaml: its instruction, then its description."""
    return [instruction(app), DESCRIPTION.format(NAMES[app])]


def held_out_texts(app: int) -> list[str]:
    """Returns wordings of the goal that no encoder is trained on."""
    return [template.format(NAMES[app]) for template in HELD_OUT]


def training_texts() -> list[list[str]]:
    """Returns all wordings per concept: the apps in order, then that none is open."""
    templates = (INSTRUCTION, DESCRIPTION, *PARAPHRASES)
    return [*([t.format(name) for t in templates] for name in NAMES), list(NULLS)]
