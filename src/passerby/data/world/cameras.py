"""The cameras of the street: what each does to colours, sharpness and noise, and under which light.

A camera is a frozen record; `expose` is the whole way from scene colours to the crop that a real system would have
stored (JPEG compression excepted, which is done by whoever writes the file).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        name: as it is written into file names.
        scenery: the place it looks at, a key of `scenery.PLACES`.
        gains: factors on red, green and blue: its white balance.
        gamma: exponent on 0..1; above 1 darkens.
        contrast: factor about middle grey.
        saturation: factor on the distance from grey.
        rows: picture height below which it cannot resolve a person, in pixels.
        blur: radius in per cent of the crop height.
        noise: standard deviation in grey levels by day.
        tilt: how far it looks down, degrees.
        jpeg_quality: of the files it writes.
        crop_rows: range of the natural height of its crops.
    """

    name: str
    scenery: str
    gains: tuple[float, float, float]
    gamma: float
    contrast: float
    saturation: float
    rows: int
    blur: float
    noise: float
    tilt: float
    jpeg_quality: int
    crop_rows: tuple[int, int]


CAMERAS: tuple[Camera, ...] = (
    Camera("c01", "street", (1.02, 1.00, 0.98), 0.98, 1.04, 1.0, 384, 0.0, 2.5, 6.0, 92, (220, 384)),
    Camera("c02", "shop", (1.14, 1.00, 0.80), 0.94, 1.02, 1.00, 260, 0.15, 4.0, 12.0, 85, (180, 330)),
    Camera("c03", "park", (0.94, 1.04, 0.96), 1.06, 1.10, 1.12, 220, 0.2, 4.0, 9.0, 80, (150, 300)),
    Camera("c04", "station", (0.86, 1.00, 1.14), 1.14, 0.92, 0.82, 150, 0.3, 7.0, 20.0, 70, (100, 220)),
    Camera("c05", "crossing", (1.06, 0.98, 1.02), 0.84, 0.88, 0.86, 190, 0.25, 5.0, 14.0, 75, (120, 260)),
    Camera("c06", "car park", (0.92, 1.05, 0.90), 1.14, 1.04, 0.80, 130, 0.35, 6.0, 24.0, 66, (100, 190)),
    Camera("c07", "arcade", (1.05, 0.97, 1.05), 1.02, 1.12, 0.95, 170, 0.3, 6.0, 16.0, 72, (110, 240)),
)


@dataclass(frozen=True, slots=True)
class Light:
    """A time of day: exposure, tint, saturation, noise factor, and the direction and share of ambient light."""

    exposure: float
    tint: tuple[float, float, float]
    saturation: float
    noise: float
    direction: tuple[float, float, float, float]
    ground_shadow: float


LIGHTS: MappingProxyType[str, Light] = MappingProxyType(
    {
        "day": Light(1.04, (1.02, 1.0, 0.97), 1.0, 1.0, (-0.42, -0.25, 0.86, 0.46), 0.55),
        "shade": Light(0.86, (0.95, 1.0, 1.07), 0.90, 1.2, (-0.15, -0.20, 0.95, 0.62), 0.40),
        "night": Light(0.76, (1.10, 1.0, 0.80), 0.80, 1.6, (0.45, -0.35, 0.80, 0.40), 0.45),
    }
)


_GRAIN = 512  # rows and columns of the tile of noise


@cache
def _response(camera: int, light: str) -> list[int]:
    """From scene value to camera value: 3 * 256 values, red, green, blue, as Pillow looks them up."""
    eye, sky = CAMERAS[camera], LIGHTS[light]
    value = np.arange(256, dtype=np.float64) / 255
    tables: list[int] = []
    for gain, tint in zip(eye.gains, sky.tint, strict=True):
        out = np.clip(value * gain * tint * sky.exposure, 0, 1) ** eye.gamma
        out = (out - 0.5) * eye.contrast + 0.5
        tables += np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8).tolist()
    return tables


@cache
def _colour_matrix(camera: int, light: str) -> tuple[float, ...]:
    """The 3 x 4 matrix that brings colours nearer to, or farther from, grey."""
    saturation = CAMERAS[camera].saturation * LIGHTS[light].saturation
    rows = []
    for channel in range(3):
        row = [weight * (1 - saturation) for weight in (0.299, 0.587, 0.114)]
        row[channel] += saturation
        rows += [*row, 0.0]
    return tuple(rows)


@cache
def _grain(copies: int) -> np.ndarray:
    """A tile of sensor noise, int16, standard deviation 64, laid side by side so that a picture is one slice of it.

    Shape:
        - returns: (512 * copies, 512 * copies, 3)
    """
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 1, size=(_GRAIN, _GRAIN, 1))
    tile = (64 * (0.75 * shared + 0.66 * rng.normal(0, 1, size=(_GRAIN, _GRAIN, 3)))).astype(np.int16)
    return np.tile(tile, (copies, copies, 1))


def expose(scene: Image.Image, camera: int, light: str, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: optics, colours, sensor.

    Args:
        scene: RGB, the colours of the world at the size of the crop.
        camera: index into CAMERAS.
        light: a key of LIGHTS.
        rng: decides where the noise tile is cut.

    Returns:
        (H, W, 3) uint8.
    """
    eye, sky = CAMERAS[camera], LIGHTS[light]
    width, height = scene.size
    if height > eye.rows:
        small = (max(round(width * eye.rows / height), 1), eye.rows)
        scene = scene.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR)
    if eye.blur * height / 100 >= 0.15:
        scene = scene.filter(ImageFilter.BoxBlur(eye.blur * height / 100))
    scene = scene.convert("RGB", _colour_matrix(camera, light))
    down, right = (int(start) for start in rng.integers(0, _GRAIN, size=2))
    grain = _grain(1 + -(-max(height, width) // _GRAIN))  # a start within the first copy, and all of the picture
    noise = grain[down : down + height, right : right + width] * np.int16(round(eye.noise * sky.noise * 4))
    noise >>= 8
    noise += np.asarray(scene.point(_response(camera, light)))
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)
