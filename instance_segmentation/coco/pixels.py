"""What OpenCV makes of an image's pixels: it reads them for training, and for everything that comes after."""

import numpy as np

CUT_OFF = "{n} image|images cannot be decoded; export or copy again"
NOT_READ = "{n} image|images OpenCV does not read; convert to 8-bit PNG or JPEG"
NEARLY_BLACK = ("{n} image|images of 16 bits with values in only the lowest 12 of them: training would see black; stretch"
                " it|them to 8 bits")
MANY_PAGES = ("{n} image|images of several pages, of which only the first is seen; save the page that is meant as an image"
              " of its own")
END_OF_JPEG = b"\xff\xd9"
TWELVE_BITS = 4095
WIDE_MODES = ("F", "I", "I;16", "I;16B", "I;16L")


def fault_of_pixels(picture):
    """Return a sentence about an opened Pillow image that OpenCV reads otherwise than people see it, or None.

    Nothing is decoded where the header and the end of the file already say that all is well.

    Args:
        picture: Opened from a file, whose path it knows.
    """
    if picture.format in ("JPEG", "MPO"):
        return CUT_OFF if not _ends(picture.filename) and _decoded(picture) is None else None
    if picture.mode not in WIDE_MODES and picture.format != "TIFF":
        return None
    if _decoded(picture) is None:
        return NOT_READ
    if picture.mode.startswith("I") and _is_nearly_black(picture):
        return NEARLY_BLACK
    return MANY_PAGES if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1 else None


def _ends(path):
    """Whether a JPEG file ends with its end marker; what cameras append behind it makes this no, and the image is decoded."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 64))
        return file.read().rstrip(b"\0").endswith(END_OF_JPEG)


def _decoded(picture):
    """The pixels as training reads them; None where OpenCV cannot."""
    import cv2  # takes longer to import than `instseg new` may
    try:
        return cv2.imdecode(np.fromfile(picture.filename, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _is_nearly_black(picture):
    """Whether a 16-bit image uses 12 bits or fewer: OpenCV keeps the upper 8 of 16."""
    import cv2
    pixels = cv2.imdecode(np.fromfile(picture.filename, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels is not None and pixels.dtype == np.uint16 and 0 < int(pixels.max()) <= TWELVE_BITS
