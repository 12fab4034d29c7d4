"""An image as everything above and below sees it: decoded pixels with a key that is their identity. No torch, no model.

In comes whatever a person calls an image (`runtime.image_sources` reads it), out goes RGB. Two files with the same
pixels are the same image; one pixel more or less makes another.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.errors import ImageError

# numpy, Pillow and the reading of sources are imported by the first image: most programs have none.
if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

MAX_PIXELS = 1 << 26
"""Width times height; 192 MiB decoded."""
MAX_BYTES = 64 << 20
MAX_RATIO = 200
"""Of the longer side to the shorter one; image processors of several families refuse more."""
TIMEOUT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Made by `of`; equal and hashable by `key`.

    pixels: uint8 [height, width, 3], RGB, read only.
    key:    sha256 of width, height and all pixels, 32 bytes.
    """

    pixels: NDArray[np.uint8]
    key: bytes

    @classmethod
    def of(
        cls,
        source: Any,
        *,
        name: str = "image",
        allow_urls: bool = True,
        allow_files: bool = True,
        timeout: float = TIMEOUT,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
    ) -> Image:
        """An image from a path, `file:`, `data:` or http(s) URL, bytes, a binary file, or a PIL, numpy or torch image.

        Turned upright as EXIF says; alpha is laid on white; of an animation the first frame; 16 bits become 8.
        Arrays are [H, W], [H, W, 1|3|4] or [1|3|4, H, W], of integers 0..255, uint16, bool, or floats 0..1.

        name:        the argument that errors name.
        allow_urls:  False refuses http(s) URLs, and `allow_files` paths: for sources that strangers name.
        timeout:     seconds for a download as a whole; max_bytes: of a file or download; max_pixels: width x height.

        ImageError if it is none, cannot be read whole, or is out of bounds.
        """
        if isinstance(source, Image):
            return source
        from runtime.image_sources import read_pixels

        pixels = read_pixels(
            source,
            name,
            allow_urls=allow_urls,
            allow_files=allow_files,
            timeout=timeout,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
        )
        height, width, _ = pixels.shape
        if min(height, width) < 1:
            raise ImageError(f"{name}: an image of {width} x {height} has no pixels")
        if width * height > max_pixels:
            raise ImageError(f"{name}: {width} x {height} pixels are more than {max_pixels}; scale it down")
        if max(height, width) > MAX_RATIO * min(height, width):
            raise ImageError(
                f"{name}: {width} x {height} is too narrow a strip, its sides are more than {MAX_RATIO} : 1; crop it"
            )
        pixels.flags.writeable = False
        return cls(pixels, _key(pixels))

    @classmethod
    def all_of(cls, sources: Iterable[Any], *, name: str = "images", **options: Any) -> tuple[Image, ...]:
        """`of` each; errors name `name[i]`."""
        return tuple(cls.of(source, name=f"{name}[{index}]", **options) for index, source in enumerate(sources))

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def to_pil(self) -> PIL.Image.Image:
        import PIL.Image

        return PIL.Image.fromarray(self.pixels)

    def to_png(self) -> bytes:
        """A PNG file with exactly these pixels."""
        file = io.BytesIO()
        self.to_pil().save(file, format="PNG")
        return file.getvalue()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Image({self.width} x {self.height}, {self.key.hex()[:8]}...)"


def _key(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    digest = hashlib.sha256(b"rgb8 %d %d\n" % (width, height))
    digest.update(pixels.data)
    return digest.digest()
