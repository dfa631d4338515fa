"""A bounded expert: breadth-first search over cells and headings, planned anew every step.

MiniGrid's BabyAI bot is not used: it can replan for ever, and raise in the middle of an episode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from examples.playroom.goals import Goal, is_true
from examples.playroom.room import DROP, FORWARD, LEFT, PICKUP, RIGHT, Cell, Playroom

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # cell in front, by MiniGrid's headings 0-3
_Accept = Callable[[Cell], bool]


def expert_action(room: Playroom, goal: Goal) -> int | None:
    """Returns the next action on a shortest way to the goal's next sub-goal.

    Never more than four times the room's cells are searched, and nothing is remembered between
    calls, so it recovers from any disturbance.

    Returns:
        An action, or None: the goal already holds, a thing is absent, or every way is blocked.
    """
    if is_true(goal, room.scene()) or not set(goal.things) <= set(room.things()):
        return None
    if goal.family == "find":
        return _find(room, goal.things[0])
    if goal.family == "lift":
        return _lift(room, goal.things[0])
    return _place(room, *goal.things)


def _find(room: Playroom, thing: int) -> int | None:
    if room.carried() == thing:
        return _go(room, _is_free(room), then=DROP)
    return _face(room, thing)


def _lift(room: Playroom, *things: int) -> int | None:
    """Heads for the nearest of the things and picks it up, with empty hands."""
    if room.carried() is not None:
        return _go(room, _is_free(room), then=DROP)
    cells = [room.cell_of(thing) for thing in things]
    return _go(room, lambda front: front in cells, then=PICKUP)


def _place(room: Playroom, first: int, second: int) -> int | None:
    carried = room.carried()
    if carried in (first, second):
        x, y = room.cell_of(second if carried == first else first)
        free = _is_free(room)
        beside = [(x + dx, y + dy) for dx, dy in _STEPS]
        return _go(room, lambda front: front in beside and free(front), then=DROP)
    if room.cell_of(first) in _beside(room, second):
        cells = [room.cell_of(first), room.cell_of(second)]
        return _go(room, lambda front: front in cells, then=None)
    return _lift(room, first, second)


def _beside(room: Playroom, thing: int) -> list[Cell]:
    x, y = room.cell_of(thing)
    return [(x + dx, y + dy) for dx, dy in _STEPS]


def _face(room: Playroom, thing: int) -> int | None:
    cell = room.cell_of(thing)
    return _go(room, lambda front: front == cell, then=None)


def _is_free(room: Playroom) -> _Accept:
    return lambda front: room.grid.get(*front) is None


def _go(room: Playroom, accept: _Accept, *, then: int | None) -> int | None:
    """Returns the first action of a shortest way to a pose whose front cell is accepted.

    Args:
        room: the room; its things block the way.
        accept: says whether a cell in front of the agent will do.
        then: the action to take once there.

    Returns:
        An action; `then` if the pose is reached already; None if it cannot be reached.
    """
    free = _is_free(room)
    start = (int(room.agent_pos[0]), int(room.agent_pos[1]), int(room.agent_dir))
    first_action: dict[tuple[int, int, int], int | None] = {start: None}
    queue = deque([start])
    while queue:
        pose = x, y, heading = queue.popleft()
        front = (x + _STEPS[heading][0], y + _STEPS[heading][1])
        if accept(front):
            return then if pose == start else first_action[pose]
        turns = ((LEFT, (x, y, (heading - 1) % 4)), (RIGHT, (x, y, (heading + 1) % 4)))
        moves = ((FORWARD, (*front, heading)),) if free(front) else ()
        for action, following in (*turns, *moves):
            if following not in first_action:
                first_action[following] = action if pose == start else first_action[pose]
                queue.append(following)
    return None
