"""The top-level packages of this distribution, found beside each other and nowhere else.

Their names are common words. A `relabel.py` of the user's own in the working directory must not
take the place of one; and another distribution that ships one overwrites ours without a word.
"""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Final

ROOMS: Final = ("schemas", "relabel", "pipelines", "offline_rl")  # beside `vlm_relabel`
DISTRIBUTION: Final = "vlm-relabel"
CURE: Final = (
    "each overwrites files of the other; install vlm-relabel in an environment of its own "
    "(python -m venv), then vlm-relabel again"
)


def pin() -> str | None:
    """Imports the packages from the folder that this one lies in, before others can be found.

    Takes less than a millisecond, since there is next to nothing in their `__init__` files.

    Returns:
        Why that did not work, in one sentence: a module of that name is loaded already, or another
        distribution has put its own into the folder. None: it did.
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in ROOMS:
        first = os.path.join(folder, name, "__init__.py")
        there = sys.modules.get(name)
        if there is None and os.path.isfile(first):  # in an archive, Python itself finds them
            there = _loaded(name, first)
        if there is not None and getattr(there, "__distribution__", None) != DISTRIBUTION:
            return _foreign(name, str(getattr(there, "__file__", None)), first)
    return None


def _loaded(name: str, first: str) -> ModuleType | None:
    spec = spec_from_file_location(name, first, submodule_search_locations=[os.path.dirname(first)])
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _foreign(name: str, file: str, first: str) -> str:
    if file != first:
        return (
            f"the module {name!r} that is loaded is {file}, not the package of {DISTRIBUTION}; "
            "import vlm_relabel before it, or give that file another name"
        )
    others = [other for other, rooms in clashes().items() if name in rooms]
    return (
        f"{first} is not the package {name!r} of {DISTRIBUTION}, but that of "
        f"{', '.join(others) or 'another distribution'} in the same environment; {CURE}"
    )


def clashes() -> dict[str, list[str]]:
    """Other installed distributions that ship packages of our names, and which; takes a while."""
    from importlib.metadata import distributions

    found: dict[str, list[str]] = {}
    for other in distributions():
        own = set((other.read_text("top_level.txt") or "").split())
        own |= {path.parts[0].removesuffix(".py") for path in other.files or ()}
        known = str(other.metadata["Name"])
        shared = sorted(own.intersection((*ROOMS, "vlm_relabel")))
        if shared and known.replace("_", "-").lower() != DISTRIBUTION:
            found[known] = shared
    return found
