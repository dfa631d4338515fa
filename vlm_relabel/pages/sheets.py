"""Small frames in one image file: a sheet, of which the page shows tiles."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vlm_relabel.pictures import Pictures, thumbnail, webp

_COLUMNS: Final = 10
_SIDE: Final = 16_000  # pixels of a WebP file, at most
_EMPTY: Final = (128, 128, 128)
_KEPT: Final = 92  # quality of a JPEG that becomes part of a sheet

Place = tuple[str, int]  # episode and step
Tell = Callable[[int, int], None]


@dataclass
class Budget:
    """Bytes that may still be written."""

    left: float

    def take(self, count: int) -> bool:
        """Whether so many may be written, and then are."""
        if count > self.left:
            self.left = 0.0  # what comes later is left out as well
            return False
        self.left -= count
        return True


@dataclass
class Shelf:
    """Small frames that are wanted, read together; held as JPEG files until a sheet is made."""

    size: int  # height of a frame, in pixels
    small: dict[Place, bytes] = field(default_factory=dict)

    def fill(self, pictures: Pictures, wanted: Mapping[str, Sequence[int]], tell: Tell) -> None:
        """Reads frames; those that cannot be read are left out."""
        total = sum(len(steps) for steps in wanted.values())
        for done, (episode_id, step, picture) in enumerate(pictures.each(wanted)):
            image = thumbnail(picture, self.size)
            if image is not None:
                stream = io.BytesIO()
                image.save(stream, "JPEG", quality=_KEPT)
                self.small[episode_id, step] = stream.getvalue()
            tell(done + 1, total)

    def image(self, place: Place) -> Image.Image | None:
        """A small frame; None: it was not read."""
        content = self.small.get(place)
        return None if content is None else Image.open(io.BytesIO(content))

    def sheet(
        self, places: Sequence[Place], folder: Path, name: str, budget: Budget
    ) -> dict[str, Any] | None:
        """Writes a sheet of some frames.

        Returns:
            For the page: `src`, `columns`, `width` and `height` of a tile, and `tiles`, the place
            of each frame on the sheet (None: the frame cannot be read). None: there is no frame, or
            no room for it.
        """
        found = [self.image(place) for place in places]
        images = [image for image in found if image is not None]
        if not images:
            return None
        width, height = (max(i.size[axis] for i in images) for axis in (0, 1))
        columns = max(1, min(_COLUMNS, len(images), _SIDE // width))
        rows = min(-(-len(images) // columns), max(1, _SIDE // height))
        whole = Image.new("RGB", (columns * width, rows * height), _EMPTY)
        tiles: list[int | None] = []
        drawn = 0
        for image in found:
            fits = image is not None and drawn < columns * rows
            tiles.append(drawn if fits else None)
            if image is not None and fits:
                corner = (drawn % columns * width, drawn // columns * height)
                inset = ((width - image.width) // 2, (height - image.height) // 2)
                whole.paste(image, (corner[0] + inset[0], corner[1] + inset[1]))
                drawn += 1
        content = webp(whole)
        if not budget.take(len(content)):
            return None
        path = folder / "frames" / f"{name}.webp"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return {
            "src": f"frames/{name}.webp",
            "columns": columns,
            "rows": rows,
            "width": width,
            "height": height,
            "tiles": tiles,
        }
