"""Goal-conditioned offline RL from a store's Parquet tables. No torch models of `relabel`."""

__distribution__ = "vlm-relabel"  # told apart from others of this name
