"""Multimodal diffeomorphic registration with Neural ODEs and structural descriptors.

Frames, once for all: every transform maps points of the *fixed* scan to points of the *moving*
scan, in RAS millimetres. Arrays are indexed ``[i, j, k]`` as stored in NIfTI; "voxel" coordinates
are such indices as reals.
"""

from diffeode.formerly import know_former_names

__version__ = "0.1.0"

know_former_names()
