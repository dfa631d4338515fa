"""The page on which frames are labelled: one file, without a server or a network."""
