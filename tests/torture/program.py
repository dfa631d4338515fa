"""`vlm-relabel` with an encoder that takes no time: `PixelMeanEncoder`, whatever is named.

python -m tests.torture.program WORD …
"""

from __future__ import annotations

from vlm_relabel.cli import interruption


def main() -> None:
    """The program's entry, but for the encoder."""
    interruption.listen()
    from relabel.testing import load_pixel_mean_encoder
    from vlm_relabel import arguments

    arguments.encoder_loader = lambda *_: load_pixel_mean_encoder
    from vlm_relabel.cli.main import main as program

    program()


if __name__ == "__main__":
    main()
