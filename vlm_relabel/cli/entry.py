"""What the program `vlm-relabel` starts with: Ctrl-C is heeded before anything else is loaded."""

from __future__ import annotations

from vlm_relabel.cli import interruption


def main() -> None:
    """Entry point of `vlm-relabel`."""
    interruption.listen()
    from vlm_relabel.cli.main import main as program

    program()


if __name__ == "__main__":
    main()
