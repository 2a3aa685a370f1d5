"""A study of one's own BIDS folder, as a BIDS App runs it: what is asked for, the scans and pairs
that follow from it, the study's file, its run, and its results under BIDS names.
"""
