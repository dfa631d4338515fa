"""Makes the page: questions, goals and frames as data inside one HTML file.

Texts of data stand in a block of JSON alone, which no browser runs; the page's script sets them as
text. A content-security policy admits this script and this style, by their hashes, and images that
are within the file; nothing else, and no network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from schemas.errors import LabelError

_ROOM: Final = 200_000  # bytes of a page beside its frames and questions, at most


@dataclass(frozen=True)
class PageFrame:
    """One picture."""

    episode_id: str
    step: int
    picture: bytes  # a WebP file


@dataclass(frozen=True)
class PageGoal:
    """One goal."""

    goal_id: str
    texts: tuple[str, ...]  # what a person reads, the first one large


def make_page(
    frames: Sequence[PageFrame],
    goals: Sequence[PageGoal],
    questions: Sequence[tuple[int, int]],
    rewards: str,
) -> bytes:
    """The HTML file.

    Args:
        frames: F, in the order in which they are shown.
        goals: G.
        questions: places of a frame and of a goal, in the order in which they are asked.
        rewards: name of the reward set.
    """
    content = {
        "id": _page_id(frames, goals, questions, rewards),
        "rewards": rewards,
        "file": f"labels-{rewards}.csv",
        "frames": [
            {"episode": f.episode_id, "step": f.step, "image": _address(f.picture)} for f in frames
        ],
        "goals": [{"id": goal.goal_id, "texts": goal.texts} for goal in goals],
        "questions": questions,
    }
    script, style = _asset("label.js"), _asset("label.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    parts = {"policy": policy, "style": style, "script": script, "data": json_in_html(content)}
    return _filled(_asset("label.html"), parts).encode()


def json_in_html(content: Any) -> str:
    """JSON that may stand between the tags of a script: it has no `<`, `>` or `&`.

    Example:
        >>> json_in_html("</script>")
        '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(content, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def check_size(picture_bytes: int, questions: int, max_mb: float) -> None:
    """Raises LabelError if a page would be larger than it may be.

    Args:
        picture_bytes: of its pictures so far.
        questions: how many it has.
        max_mb: megabytes that it may have.
    """
    size = picture_bytes * 4 / 3 + 24 * questions + _ROOM
    if size > max_mb * 1e6:
        raise LabelError(
            f"--max-mb {max_mb:g}: the page would be larger, with {questions:,} questions; give a "
            "smaller --budget, fewer goals (--goal), a smaller --frame-pixels, or a larger --max-mb"
        )


def _page_id(
    frames: Sequence[PageFrame],
    goals: Sequence[PageGoal],
    questions: Sequence[tuple[int, int]],
    rewards: str,
) -> str:
    """What answers are kept under: pages of other questions or other pictures have another."""
    shown = [(f.episode_id, f.step, hashlib.sha256(f.picture).hexdigest()) for f in frames]
    asked = [(goal.goal_id, goal.texts) for goal in goals]
    text = json.dumps([rewards, shown, asked, list(questions)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _address(picture: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"


def _asset(name: str) -> str:
    return files("vlm_relabel.labelling").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with its places filled, each once; what is filled in is not looked into."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)
