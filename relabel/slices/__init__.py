"""One slice in, its files out: `embed_slice`, `score_slice`, `build_slice`."""
