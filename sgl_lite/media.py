"""Pictures in a program: `image` and `video`. Read and checked at their line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runtime.errors import ImageError
from runtime.images import Image
from sgl_lite.errors import ArgumentError
from sgl_lite.film import frames_of_film
from sgl_lite.nodes import Node, Parts, Picture


def image(source: Any) -> Picture:
    """An image at this place: a path, URL, bytes, open file, PIL image, numpy array or torch tensor.

    Errors: `runtime.errors.ImageError` for what is none.
    """
    return Picture(source if isinstance(source, Node) else Image.of(source))  # a traced argument is a node


def video(source: Any, num_frames: int) -> Node:
    """`num_frames` images, evenly taken from a video: a list of frames, an animation (GIF, WebP, PNG), or a film (MP4,
    WebM, ...), which `pip install 'sgl-lite[video]'` reads.

    Errors: `ArgumentError`; `runtime.errors.ImageError` for a file that cannot be read.
    """
    if isinstance(num_frames, bool) or not isinstance(num_frames, int) or num_frames < 1:
        raise ArgumentError(f"num_frames={num_frames!r} must be at least 1")
    if isinstance(source, Node):
        return Picture(source)
    if isinstance(source, str | os.PathLike):
        frames = _frames_of_file(source, num_frames)
    elif getattr(source, "is_animated", False):
        frames = _frames_of(source, num_frames)
    elif hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, bytes | bytearray):
        if not len(source):
            raise ArgumentError("video has no frames")
        frames = [source[i] for i in _sampled(len(source), num_frames)]
    else:
        raise ArgumentError(
            f"video takes a path or a list of frames, not {type(source).__name__}; give the frames as images"
        )
    return Parts(tuple(Picture(one) for one in Image.all_of(frames, name="video")))


def _sampled(count: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal stretches; all frames if there are no more."""
    if wanted >= count:
        return list(range(count))
    return [int((2 * i + 1) * count / (2 * wanted)) for i in range(wanted)]


def _frames_of_file(path: str | os.PathLike[str], num_frames: int) -> Sequence[Any]:
    import PIL.Image  # `import sgl_lite` goes without

    if not Path(path).is_file():
        raise ArgumentError(f"video: there is no file {os.fspath(path)!r}")
    try:
        opened = PIL.Image.open(path)
    except PIL.UnidentifiedImageError:
        return frames_of_film(os.fspath(path), partial(_sampled, wanted=num_frames))
    with opened:
        try:
            return _frames_of(opened, num_frames)
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(f"video: {os.fspath(path)!r} is truncated or broken: {error}") from error


def _frames_of(animation: Any, num_frames: int) -> Sequence[Any]:
    frames = []
    for index in _sampled(getattr(animation, "n_frames", 1), num_frames):
        animation.seek(index)
        frames.append(animation.copy())
    return frames
