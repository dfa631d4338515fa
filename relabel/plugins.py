"""Code that a user names: `my_module:MyReward`, `my_package.encoders:load`.

A module is looked for where Python looks, and last of all in the working directory, so that a
file of the user's own never takes the place of an installed package.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any, Final

from schemas.errors import RelabelError

_ADDED: Final[set[str]] = set()  # working directories that were put at the end of sys.path


def load_named(
    name: str, what: str, *, here: bool = True, kind: type[RelabelError] = RelabelError
) -> Any:
    """The object that a name like `module:attribute` stands for.

    Args:
        name: module, with dots if it lies in a package, a colon, and the name in the module.
        what: of which kind of thing it is the name, such as "reward"; begins every error text.
        here: also look in the working directory. False for a name that was not typed by the
            user but stands in a file: whoever wrote the file must not choose what runs.
        kind: of the errors.

    Raises:
        RelabelError: no such form, module or attribute, or a module that fails when imported.
    """
    module, _, attribute = name.partition(":")
    if not (_is_dotted(module) and _is_dotted(attribute)):
        raise kind(f"{what} {name!r}: expected module:name, such as my_module:MyClass")
    found: Any = _module(module, f"{what} {name!r}", here, kind)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise kind(
                f"{what} {name!r}: {_place(found)} has no {part!r}; names that it defines are "
                f"{', '.join(_own_names(found)) or 'none'}"
            )
        found = getattr(found, part)
    return found


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _module(name: str, subject: str, here: bool, kind: type[RelabelError]) -> ModuleType:
    try:
        return _imported(name, here)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise kind(f"{subject}: there is no module {error.name!r}{_looked(here)}") from error
        raise kind(f"{subject}: {name} needs {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        raise kind(f"{subject}: {name} cannot be imported: {what}") from error


def _looked(here: bool) -> str:
    if here:
        return f" on Python's path or in {os.getcwd()}; is its name spelled as its file's?"
    return (
        " on Python's path; the name stands in a file, so it is not looked for in the working "
        "directory: install the module, or put its folder into PYTHONPATH"
    )


def _imported(name: str, here: bool) -> ModuleType:
    directory = os.getcwd()
    if here and directory not in sys.path:
        sys.path.append(directory)  # stays: such a module may import its neighbours later
        _ADDED.add(directory)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    whole = list(sys.path)
    if not here:
        sys.path[:] = [entry for entry in whole if entry not in _ADDED]
    try:
        return importlib.import_module(name)
    finally:
        if not here:
            sys.path[:] = whole


def _place(found: Any) -> str:
    """What it is, and for a module where it lies: it may be another one of the same name."""
    if not isinstance(found, ModuleType):
        return str(getattr(found, "__qualname__", type(found).__name__))
    return f"module {found.__name__} ({getattr(found, '__file__', None) or 'no file'})"


def _own_names(found: Any) -> list[str]:
    """Public names, without what a module only imports."""
    module = getattr(found, "__name__", None) if isinstance(found, ModuleType) else None
    return [
        name
        for name, value in getattr(found, "__dict__", {}).items()
        if not name.startswith("_") and module in (None, getattr(value, "__module__", None))
    ]
