"""The affine alignment every pair starts from."""

from __future__ import annotations

from diffeode.ants_bridge import affine_from_ants, ants_registration
from diffeode.image import Image
from diffeode.transform import Affine


def affine_registration(fixed: Image, moving: Image, threads: int, seed: int) -> Affine:
    """Points of ``fixed`` to points of ``moving``, RAS mm: ANTs affine with Mattes mutual information.

    Starts from the centres of mass and works through four levels (Avants et al., NeuroImage 54(3), 2011). The images
    may lie on different grids and have different contrasts.

    Raises:
        RegistrationError: ANTs gave up.
    """
    with ants_registration(fixed, moving, "Affine", threads, seed, aff_metric="mattes") as found:
        return affine_from_ants(found["fwdtransforms"][0])
