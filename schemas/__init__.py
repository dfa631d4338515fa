"""Words and data of a store: columns, goals, manifests, paths, errors. No torch, no Beam."""

__distribution__ = "vlm-relabel"  # told apart from others of this name
