"""From a path, URL, bytes, array or PIL image to RGB pixels, within limits. Knows no models; decoding is Pillow's.

Everything that goes wrong is an `ImageError` that names the argument.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from runtime.errors import ImageError

FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Pillow knows more, some of which start other programs."""

Pixels = NDArray[np.uint8]
_SHOWN = 80
_CHANNELS = (1, 3, 4)


def read_pixels(
    source: Any,
    name: str,
    *,
    allow_urls: bool,
    allow_files: bool,
    timeout: float,
    max_bytes: int,
    max_pixels: int,
) -> Pixels:
    """uint8 [H, W, 3], a fresh array in C order. See `runtime.images.Image.of`."""
    if isinstance(source, PIL.Image.Image):
        return _decode(source, name, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(bytes(source), name, max_bytes, max_pixels)
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if not isinstance(text, str):
            text = os.fsdecode(text)
        scheme = text[:8].partition(":")[0].lower() if isinstance(source, str) else ""
        if scheme in ("http", "https"):
            if not allow_urls:
                raise ImageError(f"{name}: {_short(text)} would be downloaded, which is switched off; send the image")
            return _open(_download(text, name, timeout, max_bytes), name, max_bytes, max_pixels)
        if scheme == "data":
            return _open(_data_url(text, name), name, max_bytes, max_pixels)
        if not allow_files:
            raise ImageError(f"{name}: {_short(text)} names a file, which is switched off; send a data: URL")
        path = urllib.request.url2pathname(urllib.parse.urlsplit(text).path) if scheme == "file" else text
        return _open(_read_file(path, name, max_bytes), name, max_bytes, max_pixels)
    if hasattr(source, "read"):
        return _open(_read_open_file(source, name, max_bytes), name, max_bytes, max_pixels)
    if isinstance(source, np.ndarray):
        return _from_array(source, name, channels_first=False)
    if hasattr(source, "detach") and hasattr(source, "cpu"):  # a torch tensor; torch itself is not needed to tell
        tensor = source.detach().cpu()
        array = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
        return _from_array(array, name, channels_first=True)
    raise ImageError(
        f"{name}: {type(source).__name__} is no image; give a path, a URL, bytes, or a PIL, numpy or torch image"
    )


def _open(content: bytes, name: str, max_bytes: int, max_pixels: int) -> Pixels:
    if len(content) > max_bytes:
        raise ImageError(f"{name}: {len(content)} bytes are more than {max_bytes}; send a smaller file")
    if not content:
        raise ImageError(f"{name}: the file is empty")
    PIL.Image.init()
    formats = [kind for kind in FORMATS if kind in PIL.Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are checked here, and broken metadata
            opened = PIL.Image.open(io.BytesIO(content), formats=formats)
    except PIL.UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not an image, or of a kind that is not read; {', '.join(formats)} are read"
        ) from error
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:
        raise ImageError(f"{name}: the image is truncated or broken: {error}") from error
    return _decode(opened, name, max_pixels)


def _decode(image: PIL.Image.Image, name: str, max_pixels: int) -> Pixels:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width} x {height} pixels are more than {max_pixels}; scale it down")
    if min(width, height) < 1:
        raise ImageError(f"{name}: an image of {width} x {height} has no pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return _rgb(PIL.ImageOps.exif_transpose(image))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's readers raise almost anything
        raise ImageError(f"{name}: the image is truncated or broken: {error}") from error


def _rgb(image: PIL.Image.Image) -> Pixels:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = PIL.Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"), dtype=np.uint8, order="C")


def _eight_bits(grey: NDArray[Any]) -> Pixels:
    """Grey of 16 bits, or of 32 that hold no more, [H, W]."""
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 65535:
        raise ImageError(f"grey values must lie in 0..65535, not {grey.min()}..{grey.max()}")
    wide = grey.dtype == np.uint16 or grey.max() > 255
    scaled = np.rint(grey.astype(np.float64) / 257.0) if wide else np.rint(grey.astype(np.float64))
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)


def _from_array(array: NDArray[Any], name: str, channels_first: bool) -> Pixels:
    """channels_first: where [C, H, W] and [H, W, C] are both possible, the first is meant."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ImageError(f"{name}: an array of shape {array.shape} is no image; give [H, W], [H, W, 3] or [3, H, W]")
    first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
    if first and (channels_first or not last):
        array = np.moveaxis(array, 0, 2)
    elif not last:
        raise ImageError(f"{name}: an array of shape {array.shape} is no image; it has no axis of 1, 3 or 4 channels")
    if not array.size:
        raise ImageError(f"{name}: an image of {array.shape[1]} x {array.shape[0]} has no pixels")
    array = _array_values(array, name)
    if array.shape[2] == 4:
        colour, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
        array = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8, order="C")


def _array_values(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The same values as integers 0..255."""
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype == np.uint16:
        return np.rint(array / 257.0)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"{name}: floats must lie in 0..1, not {array.min():.4g}..{array.max():.4g}")
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.dtype.kind in "iu":
        if array.min() < 0 or array.max() > 255:
            raise ImageError(f"{name}: integers must lie in 0..255, not {array.min()}..{array.max()}")
        return array.astype(np.uint8)
    raise ImageError(f"{name}: an array of {array.dtype} is no image; give uint8")


def _read_file(path: str, name: str, max_bytes: int) -> bytes:
    try:
        if Path(path).is_dir():
            raise ImageError(f"{name}: {_short(path)} is a folder")
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{name}: cannot read {_short(path)}: {reason}") from error


def _read_open_file(file: Any, name: str, max_bytes: int) -> bytes:
    content = file.read(max_bytes + 1)
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: the file gives {type(content).__name__}; open it in binary mode")
    return content


def _data_url(url: str, name: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageError(f"{name}: {_short(url)} is no data: URL, it has no comma")
    content = urllib.parse.unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise ImageError(f"{name}: the data: URL is not base64: {error}") from error


def _download(url: str, name: str, timeout: float, max_bytes: int) -> bytes:
    deadline = time.monotonic() + timeout
    opener = urllib.request.OpenerDirector()  # http and https only, also after a redirect
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    content = bytearray()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "sgl-lite", "Accept": "image/*"})
        with opener.open(request, timeout=timeout) as response:
            while chunk := response.read1(1 << 16):
                content += chunk
                if len(content) > max_bytes:
                    raise ImageError(f"{name}: {_short(url)} is larger than {max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError("timed out")
    except ImageError:
        raise
    except TimeoutError as error:
        raise ImageError(f"{name}: {_short(url)} did not arrive within {timeout:g} s") from error
    except Exception as error:  # http.client and urllib raise of several trees
        reason = getattr(error, "reason", None) or error
        raise ImageError(f"{name}: cannot fetch {_short(url)}: {reason}") from error
    return bytes(content)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
