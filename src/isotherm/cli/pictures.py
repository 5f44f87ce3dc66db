"""Photographs, in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

PICTURES = (".png", ".jpg", ".jpeg")


def read_picture(path: Path) -> np.ndarray:
    """The colours of a picture, shape (H, W, 3), uint8, turned upright; transparency is dropped.

    Args:
        path: A .png or .jpg file.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        ValueError: Not a picture, or one with more than 8 bits per channel.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                msg = f"{path} must have 8 bits per channel: got mode {picture.mode}. Convert it, for instance to an 8-bit PNG."
                raise ValueError(msg)
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (PIL.UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        msg = f"{path} is not a readable picture: {str(error).rstrip('.')}. Save it again as PNG or JPEG."
        raise ValueError(msg) from error


def write_picture(path: Path, picture: np.ndarray, *, comment: str) -> None:
    """Write a picture in the format that its suffix names.

    Args:
        path: A .png or .jpg file.
        picture: Shape (H, W, 3), uint8.
        comment: How it was made; kept in the file.
    """
    if path.suffix.lower() == ".png":
        notes = PngInfo()
        notes.add_text("Comment", comment)
        Image.fromarray(picture).save(path, pnginfo=notes)
    else:
        Image.fromarray(picture).save(path, quality=95, comment=comment)
