"""Multimodal diffeomorphic registration with Neural ODEs and structural descriptors.

The frames are the same everywhere: every transform maps points of the *fixed* scan to points of the
*moving* scan, in RAS millimetres. Arrays are indexed ``[i, j, k]`` as NIfTI stores them; "voxel"
coordinates are such indices as real numbers.
"""

from diffeode.formerly import know_former_names

__version__ = "0.1.0"

know_former_names()
