"""The words by which a user chooses how a pair is prepared; this file imports nothing."""

STARTS = ("identity", "centre", "rigid", "similarity", "affine")
"""How a registration can start: from the positions in the headers, with the centres of what the
images show together, or from a map that ANTs finds.
"""

ANTS_FINDS = STARTS[2:]
"""The kinds of start that ANTs finds, which cannot read sheared grids."""

NO_BACKGROUND = "none"
"""The choice of a mask by which nothing is background."""
