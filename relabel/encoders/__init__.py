"""Frames and texts to unit vectors."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.encoders.protocol import Encoder as Encoder
    from relabel.encoders.protocol import EncoderLoader as EncoderLoader
    from relabel.encoders.protocol import LoadEncoder as LoadEncoder
    from relabel.encoders.registry import encoder_loader as encoder_loader
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "Encoder": "relabel.encoders.protocol",
            "EncoderLoader": "relabel.encoders.protocol",
            "LoadEncoder": "relabel.encoders.protocol",
            "encoder_loader": "relabel.encoders.registry",
        },
    )
