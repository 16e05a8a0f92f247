"""Pictures become arrays here, and only here: safely, and always in the same way.

A picture is a file that anybody may have made, so its header is read first and judged by its size before a pixel is
decoded; what comes out is always (H, W, 3) uint8, upright, the first frame, over white. `resize_image` is the only
resize of the project, so that training, indexing and searching see the same pixels.
"""

from __future__ import annotations

import io
import stat
from pathlib import Path

import numpy as np
from PIL import Image

from passerby.errors import ConfigError, DataError, nearest

#: What a picture handed to passerby may be: a file, its bytes, an opened Pillow image or decoded pixels.
ImageSource = Path | str | bytes | Image.Image | np.ndarray

#: Largest picture file that is read, in bytes.
MAX_FILE_BYTES = 20_000_000
#: Largest picture that is decoded, in pixels; a crop of a person has a thousandth of it.
MAX_PIXELS = 40_000_000
#: Longest side that is decoded, in pixels.
MAX_SIDE = 8_192
#: Endings of the files that folders are searched for.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_EXPECTED = "expected a JPEG, PNG, WebP or BMP picture"
#: How much larger than asked for a picture stays; Pillow's own two-step resize calls 2 hardly distinguishable from 1.
_SPARE = 2
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def is_image_file(path: Path) -> bool:
    """Whether a path has the ending of a picture; nothing is opened."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image_file(path: Path | str) -> bytes:
    """Read a picture's bytes, refusing what is no ordinary file or is larger than `MAX_FILE_BYTES`.

    Raises:
        DataError: the file is missing, unreadable, empty, no regular file or too large.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise DataError(f"{path} is {kind}; {_EXPECTED}; name a picture file")
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(str(path), f"{status.st_size / 1e6:.0f} MB", f"{MAX_FILE_BYTES // 1_000_000} MB")
        encoded = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read: {reason}; check the path and its permissions") from error
    if not encoded:
        raise DataError(f"{path} is an empty file; {_EXPECTED}; copy it again")
    return encoded


def decode_image(source: ImageSource, at_least: tuple[int, int] | None = None, name: str | None = None) -> np.ndarray:
    """Decode one picture to upright sRGB pixels.

    Transparency is laid over white, 16-bit samples keep their upper byte, CMYK and palettes become RGB, of an
    animation only the first frame is read. Colour profiles are ignored, as the towers were trained without them.

    Args:
        source: a path, the bytes of a picture file, a Pillow image, or pixels (H, W), (H, W, 3) or (H, W, 4) uint8.
        at_least: (height, width) that the caller will resize to. A far larger picture is reduced by a whole factor
            on the way (a JPEG while it is decoded), but never below twice this size, so that the resize still has
            pixels to average. An array is not reduced.
        name: what errors call the picture; the path where the source is one.

    Shape:
        (H, W, 3) uint8.

    Raises:
        DataError: the picture is missing, damaged, truncated, larger than the caps or of another format.
    """
    if isinstance(source, np.ndarray):
        return _check_pixels(source, name or "the array")
    if isinstance(source, Image.Image):
        label = name or getattr(source, "filename", "") or f"the Pillow image of mode {source.mode}"
        return _decode(source, at_least, str(label), draft=False)  # a draft would change the caller's own image
    label = name or (str(source) if isinstance(source, Path | str) else f"the picture of {len(source)} bytes")
    encoded = source if isinstance(source, bytes) else read_image_file(source)
    if len(encoded) > MAX_FILE_BYTES:
        raise _too_large(label, f"{len(encoded) / 1e6:.0f} MB", f"{MAX_FILE_BYTES // 1_000_000} MB")
    with open_image(encoded, label) as image:
        return _decode(image, at_least, label, draft=True)


def open_image(encoded: bytes, label: str) -> Image.Image:
    """Open a picture of the formats that are read here; no pixel of it is decoded.

    Args:
        encoded: the bytes of a picture file.
        label: what errors call the picture.

    Raises:
        DataError: it is no such picture, or its header cannot be read.
    """
    try:
        return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(label, "far too many pixels", f"{MAX_PIXELS // 1_000_000} megapixels") from error
    except Image.UnidentifiedImageError as error:
        found = _describe(encoded)
        raise DataError(f"{label} is {found}; {_EXPECTED}; remove it or convert it") from error
    except Exception as error:  # a decoder may raise anything on bytes that were made to break it
        raise _damaged(label, error) from error


def resize_image(pixels: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """Resize to exactly (height, width) with antialiasing; the aspect ratio is not kept.

    Args:
        pixels: the picture.
        size: (height, width).
        interpolation: "bilinear" or "bicubic", whichever the tower was trained with.

    Shape:
        pixels: (H, W, 3) uint8 -> (height, width, 3) uint8.

    Raises:
        ConfigError: no such interpolation.
    """
    if interpolation not in _RESAMPLING:
        known = " or ".join(_RESAMPLING)
        raise ConfigError(f"interpolation is {interpolation!r}; expected {known}.{nearest(interpolation, _RESAMPLING)}")
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), _RESAMPLING[interpolation]))


def _decode(image: Image.Image, at_least: tuple[int, int] | None, label: str, *, draft: bool) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _too_large(label, f"{width} x {height} pixels", f"{MAX_PIXELS // 1_000_000} megapixels, side {MAX_SIDE}")
    if not width * height:
        raise DataError(f"{label} has no pixels ({width} x {height}); {_EXPECTED}")
    try:
        # A PNG may carry its EXIF block behind the pixels, and asking for it there decodes them: JPEG first.
        is_jpeg = image.format in ("JPEG", "MPO")
        orientation = _orientation(image) if is_jpeg else 1
        if draft and is_jpeg and at_least is not None:
            wanted = at_least if orientation in _SIDEWAYS else at_least[::-1]  # Pillow says (width, height)
            image.draft(None, (_SPARE * wanted[0], _SPARE * wanted[1]))
        image.load()
        if not is_jpeg:
            orientation = _orientation(image)
        image = _to_rgb(image)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        if at_least is not None:
            factor = min(image.height // (_SPARE * at_least[0]), image.width // (_SPARE * at_least[1]))
            image = image.reduce(factor) if factor > 1 else image
        return np.array(image)
    except Exception as error:  # as above
        raise _damaged(label, error) from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        # 16 bits per sample, in Pillow's I;16 or its wider I
        samples = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
        return Image.fromarray(samples.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point samples have no known range")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _check_pixels(pixels: np.ndarray, label: str) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise DataError(
            f"{label} has shape {pixels.shape} and type {pixels.dtype}; expected (H, W, 3) uint8 with values 0 to 255"
        )
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        raise DataError(f"{label} has {pixels.shape[2]} channels; expected (H, W, 3) uint8, channels last")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS or max(pixels.shape) > MAX_SIDE:
        height, width = pixels.shape[:2]
        raise _too_large(label, f"{width} x {height} pixels", f"{MAX_PIXELS // 1_000_000} megapixels, side {MAX_SIDE}")
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return pixels
    return np.array(_to_rgb(Image.fromarray(pixels)))


def _describe(encoded: bytes) -> str:
    """What bytes that no decoder knows look like, for the error message."""
    head = encoded[:512]
    if head[:3] == b"\xff\xd8\xff" or head[:8] == b"\x89PNG\r\n\x1a\n":
        return "a damaged picture whose header cannot be read"
    known = {b"GIF8": "a GIF", b"II*\x00": "a TIFF", b"MM\x00*": "a TIFF", b"%PDF": "a PDF", b"%!PS": "PostScript"}
    for magic, found in known.items():
        if head.startswith(magic):
            return found
    text = head.decode("utf-8", errors="replace")
    if text.lstrip().startswith(("<svg", "<?xml", "<!DOCTYPE", "<html")):
        return "a text file (XML, SVG or HTML)"
    printable = sum(letter.isprintable() or letter.isspace() for letter in text)
    return "a text file" if "�" not in text and printable == len(text) else "in no format that is read here"


def _too_large(label: str, found: str, limit: str) -> DataError:
    return DataError(f"{label} has {found}; at most {limit} are decoded; scale it down first")


def _damaged(label: str, error: Exception) -> DataError:
    if isinstance(error, MemoryError):
        return DataError(f"{label} takes more memory to decode than there is; scale it down first")
    reason = str(error) or type(error).__name__
    return DataError(f"{label} is damaged or cut off ({reason}); {_EXPECTED}; copy it again or remove it")
