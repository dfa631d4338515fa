"""Figures in footers and manifests, which are read as strictly as any other file of a store."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from schemas.errors import DamagedError
from schemas.json_text import validation_problems
from schemas.slices import Slice
from schemas.store import Store
from schemas.table_manifest import TableManifest

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


def read_summary(store: Store, table: TableManifest, model: type[_M], context: object = None) -> _M:
    """What the manifest of a complete table holds as the figures of all its slices.

    Args:
        store: of the table.
        table: its manifest, with figures.
        model: of these.
        context: for the validators of the model.

    Raises:
        DamagedError: what is there is nothing that this package writes.
    """
    try:
        return model.model_validate(table.figures, context=context)
    except ValidationError as error:
        raise DamagedError(
            f"{store.location}/{table.table}: its manifest holds other figures than this package "
            f"writes: {validation_problems(error)}; run the command that made it again with "
            "--overwrite"
        ) from error
