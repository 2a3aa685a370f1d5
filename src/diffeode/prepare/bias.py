"""The slow drift of intensities that the coil leaves."""

from __future__ import annotations

import numpy as np

from diffeode.ants_bridge import from_ants, load_ants, to_ants
from diffeode.image import Image

_WORKING_SPACING_MM = 4.0


def n4(image: Image, mask: np.ndarray, threads: int) -> Image:
    """``image`` without its bias field, estimated inside ``mask`` at about 4 mm.

    N4: Tustison et al., IEEE Transactions on Medical Imaging 29(6), 2010.
    """
    ants = load_ants(threads)
    shrink = max(1, int(_WORKING_SPACING_MM / image.grid.spacing.min()))
    corrected = ants.n4_bias_field_correction(
        to_ants(image), mask=to_ants(Image(mask, image.grid)), shrink_factor=shrink
    )
    return Image(np.where(mask, from_ants(corrected, image.grid).data, 0), image.grid)
