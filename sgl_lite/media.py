"""Pictures in a program: `image` and `video`. Read and checked at their line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.errors import ImageError
from runtime.images import Image
from sgl_lite.errors import ArgumentError
from sgl_lite.nodes import Node, Parts, Picture


def image(source: Any) -> Picture:
    """An image at this place: a path, URL, bytes, open file, PIL image, numpy array or torch tensor.

    Errors: `runtime.errors.ImageError` for what is none.
    """
    return Picture(source if isinstance(source, Node) else Image.of(source))  # a traced argument is a node


def video(source: Any, num_frames: int) -> Node:
    """`num_frames` images, evenly taken from a video: a list of frames, or a file of an animation (GIF, WebP, PNG).

    Errors: `ArgumentError` for a file that holds another kind of video: its frames must be read first.
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
    except PIL.UnidentifiedImageError as error:
        raise ArgumentError(
            f"video: {os.fspath(path)!r} is no animation that can be read (GIF, WebP, PNG, AVIF). Of other videos read "
            f"the frames first and give them: video(list_of_frames, {num_frames}); for example "
            "`[f.to_image() for f in av.open(path).decode(video=0)]` with PyAV, or ffmpeg's -vf fps=1 to files"
        ) from error
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
