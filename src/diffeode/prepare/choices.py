"""The words by which a user chooses how a pair is prepared; this file imports nothing."""

STARTS = ("identity", "centre", "rigid", "similarity", "affine")
"""How a registration can start: from the positions in the headers, with the centres of what the
images show together, or from a linear map that is found.
"""

ALIGNED_STARTS = STARTS[2:]
"""The kinds of start that an alignment by ANTs or ITK finds; neither reads sheared grids."""

LARGE_VOXELS = 1_500_000
"""Two volumes that both have more voxels than this are aligned on coarse voxels at a desk
(:mod:`diffeode.prepare.quick_affine`); others are aligned by ANTs as they are.
"""

NO_BACKGROUND = "none"
"""The choice of a mask by which nothing is background."""

STRIPPER = "mindgrab"
"""The tool that strips the skulls of a pair at a desk, of the tools that find brains."""
