"""Errors as users see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import typer

from schemas.disks import disk_cure
from schemas.errors import RelabelError
from schemas.extras import named_extras
from vlm_relabel.cli import console

T = TypeVar("T")


def guarded(run: Callable[[], T], as_json: bool) -> T:
    """Runs a command; an error the user can mend is shown without a traceback, exit code 2."""
    try:
        with named_extras("this command"):
            return run()
    except RelabelError as error:
        console.show_error(error, as_json)
        raise typer.Exit(2) from error
    except OSError as error:
        cure = disk_cure(error)
        if cure is None:
            raise
        where = error.filename or "a file"
        console.show_error(RelabelError(f"{where}: {error.strerror}; {cure}"), as_json)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        console.say("interrupted; the same command resumes where it stopped")
        raise typer.Exit(130) from None


def guarded_job(run: Callable[[console.Show], T], as_json: bool) -> T:
    """As `guarded`, of a job whose progress is shown.

    Args:
        run: the job, which is given what shows progress.
        as_json: show none.
    """

    def job() -> T:
        with console.progress(as_json) as show:
            return run(show)

    return guarded(job, as_json)
