"""Reading and writing of pictures: PNG, JPEG and TIFF files of one slice, grey or in colour.

Pillow opens files in this module and nowhere else, so its errors are translated here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from diffeode.errors import DamagedFileError, InputError, first_line
from diffeode.files.io import written_whole
from diffeode.files.presence import require_file
from diffeode.files.quiet import silent_libraries
from diffeode.geometry.image import Image
from diffeode.geometry.space import RAS_TO_LPS, Grid

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF")
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""
_PLAIN = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
"""The mode in which a picture of each mode of Pillow is kept; modes of other colour spaces, such as
CMYK, become RGB.
"""
_KEPT = ("L", "LA", "RGB", "RGBA", "I;16", "I", "F")
_QUALITY: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
}


@final
@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as its file holds it.

    Attributes:
        values: the stored numbers, ``(X, Y, C)``: x runs to the right, y downwards, and C is 1
            (grey), 2 (grey, opacity), 3 (red, green, blue) or 4 (these, opacity).
        suffix: the end of the file's name, which decides how :func:`write_picture` writes it.
        profile: the ICC profile of its colours, or None.
    """

    values: np.ndarray
    suffix: str
    profile: bytes | None = field(default=None, repr=False)

    @property
    def grid(self) -> Grid:
        """The grid of the pixels: the centre of the first pixel is the origin, and in LPS mm x is
        the column and y the row. A pixel counts as 1 mm wide, whatever resolution the file states.
        """
        return Grid((*self.values.shape[:2], 1), RAS_TO_LPS)

    @property
    def opaque(self) -> np.ndarray:
        """The pixels that are more opaque than transparent, ``(X, Y)`` bool."""
        if self.values.shape[2] in (1, 3):
            return np.ones(self.values.shape[:2], dtype=bool)
        return self.values[..., -1] > np.iinfo(self.values.dtype).max / 2

    @property
    def grey(self) -> Image:
        """The luminance, on :attr:`grid`; transparent pixels have the least value of the others, so
        that they count as padding.
        """
        colours = self.values[..., :3] if self.values.shape[2] > 2 else self.values[..., :1]
        grey = colours.astype(np.float32)
        grey = grey @ _LUMINANCE if grey.shape[2] == 3 else grey[..., 0]
        opaque = self.opaque
        if opaque.any() and not opaque.all():
            grey = np.where(opaque, grey, grey[opaque].min())
        return Image(grey[..., None], self.grid)


def is_picture(path: Path | str) -> bool:
    """Return whether the name of ``path`` ends as that of a picture."""
    return str(path).lower().endswith(SUFFIXES)


def read_picture(path: Path | str) -> Picture:
    """Return the picture at ``path``, turned upright where the file says that it is to be turned.

    Raises:
        InputError: the file is missing, is no PNG, JPEG or TIFF, holds several pictures, is too
            large, or has pixels that are NaN or infinite.
        DamagedFileError: the file is empty, truncated or damaged.
    """
    path = Path(path)
    require_file(path)
    if path.stat().st_size == 0:
        raise DamagedFileError(f"{path} is empty; fetch or make it again.")
    with _one_sentence(path), silent_libraries():
        import PIL.Image
        from PIL import ImageOps

        with PIL.Image.open(path) as opened:
            opened.verify()  # the checksums of a PNG, which are not looked at by reading its pixels
        with PIL.Image.open(path) as opened:
            _require_one(opened, path)
            profile = opened.info.get("icc_profile")
            plain = _plain(ImageOps.exif_transpose(opened))
    values = np.asarray(plain)
    values = values[..., None] if values.ndim == 2 else values
    if not np.isfinite(values).all():
        raise InputError(f"{path} has pixels that are NaN or infinite; repair them first.")
    suffix = path.suffix.lower()
    return Picture(np.ascontiguousarray(values.transpose(1, 0, 2)), suffix, profile)


def write_picture(path: Path | str, picture: Picture) -> None:
    """Write ``picture`` to ``path``, in the format that the name of ``path`` ends in.

    Raises:
        InputError: that format does not hold such a picture, or the file cannot be written.
    """
    import PIL.Image

    _require_holds(Path(path), picture)
    values = np.ascontiguousarray(picture.values.transpose(1, 0, 2))
    image = PIL.Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    settings = dict(_QUALITY.get(Path(path).suffix.lower(), {}))
    if picture.profile:
        settings["icc_profile"] = picture.profile
    with written_whole(path) as temporary:
        image.save(temporary, **settings)


def _require_holds(path: Path, picture: Picture) -> None:
    """Raise :class:`InputError` where the format of ``path`` does not hold what ``picture`` has."""
    suffix, kind = path.suffix.lower(), picture.values.dtype
    instead = ""
    if suffix in (".jpg", ".jpeg") and (kind != np.uint8 or picture.values.shape[2] in (2, 4)):
        instead = "JPEG holds 8 bits a colour and no opacity; end the name in .png or .tif"
    elif suffix == ".png" and kind not in (np.uint8, np.uint16):
        instead = "PNG holds whole numbers of 8 or 16 bits; end the name in .tif"
    if instead:
        raise InputError(f"{path} cannot hold this picture: {instead}.")


def _require_one(opened: PIL.Image.Image, path: Path) -> None:
    if opened.format not in _FORMATS:
        raise InputError(
            f"{path} is a {opened.format} file by its content; give a PNG, JPEG or TIFF, or NIfTI."
        )
    pictures = getattr(opened, "n_frames", 1)
    # Cameras put a preview behind the picture (MPO).
    if pictures > 1 and opened.format != "MPO":
        raise InputError(
            f"{path} holds {pictures} pictures; save the one to be registered as a file of its own."
        )


def _plain(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return ``image`` in one of the modes that are kept."""
    if image.mode in ("P", "PA") and "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode.startswith("I;16"):
        return image if image.mode == "I;16" else image.convert("I")
    return image if image.mode in _KEPT else image.convert(_PLAIN.get(image.mode, "RGB"))


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises about ``path`` into one sentence, and silence its warnings.

    Raises:
        InputError: the file is no picture, or too large.
        DamagedFileError: the file is truncated or damaged.
    """
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except PIL.UnidentifiedImageError:
        raise InputError(
            f"{path} cannot be read as a picture, because it is damaged, no picture, or of a kind "
            "that is not known here; give a PNG, JPEG or TIFF with 8 bits a colour, or 16 bits "
            "of grey."
        ) from None
    except (PIL.Image.DecompressionBombError, MemoryError):
        raise InputError(
            f"{path} has more pixels than can be read; save it with fewer pixels."
        ) from None
    except Exception as error:  # a damaged file breaks the decoders in any way
        reason = first_line(error).rstrip(".")
        raise DamagedFileError(
            f"{path} is truncated or damaged ({reason}); fetch or make it again."
        ) from None
