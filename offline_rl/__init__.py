"""Goal-conditioned offline RL from a store's Parquet tables. No torch models of `relabel`."""
