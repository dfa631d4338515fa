"""Words and data of a store: columns, goals, manifests, paths, errors. No torch, no Beam."""
