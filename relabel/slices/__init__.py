"""One slice in, its files out: `embed_slice`, `score_slice`, `build_slice`.

Each is in the module of its name.
"""
