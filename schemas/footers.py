"""Figures in the footers of slices, which are read as strictly as any other file of a store."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from schemas.errors import DamagedError
from schemas.json_text import validation_problems
from schemas.slices import Slice
from schemas.store import Store

Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]

_M = TypeVar("_M", bound=BaseModel)


def read_figures(
    store: Store, table: str, piece: Slice, key: bytes, model: type[_M], context: object = None
) -> _M | None:
    """What the footer of a committed slice holds under a key; None if it holds no such thing.

    Args:
        store: of the slice.
        table: its folder.
        piece: the slice.
        key: of the footer's metadata, one of `schemas.fields`.
        model: of the JSON there.
        context: for the validators of the model.

    Raises:
        DamagedError: what is there is nothing that this package writes.
    """
    stored = store.metadata(table, piece).get(key)
    if stored is None:
        return None
    try:
        return model.model_validate_json(stored, context=context)
    except ValidationError as error:
        raise DamagedError(
            f"{store.folder.join(f'{table}/{piece.file}')}: its footer holds other figures under "
            f"{key.decode()} than this package writes: {validation_problems(error)}; run the "
            f"command that made {table} again with --overwrite"
        ) from error
