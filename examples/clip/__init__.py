"""Small open_clip models trained from scratch on captioned frames of a simulated world."""
