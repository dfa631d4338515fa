"""The paper's figures over two simulated worlds: every run leaves a record, every page is drawn of
records.
"""
