"""Frames of film files (MP4, WebM, MKV, AVI, ...). PyAV decodes them; it is an extra, loaded when a film is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runtime.errors import ImageError
from sgl_lite.errors import ArgumentError

Choose = Callable[[int], Sequence[int]]
"""Which frames are wanted, in order, of so many."""


def frames_of_film(path: str, choose: Choose) -> list[Any]:
    """The chosen frames as PIL images. Decodes from the key frame before each, not all that is between.

    Errors: `ArgumentError` without PyAV, `ImageError` for a file that is no film.
    """
    try:
        import av
    except ImportError as error:
        raise ArgumentError(
            f"video: {path!r} is no animation (GIF, WebP, PNG); films are read by PyAV: pip install 'sgl-lite[video]'"
        ) from error
    try:
        with av.open(path) as film:
            if not film.streams.video:
                raise ImageError(f"video: {path!r} holds no pictures; give a film or a list of frames")
            stream = film.streams.video[0]
            moments = sorted(_moment(packet) for packet in film.demux(stream) if packet.size)
            return [_frame_at(film, stream, moments[index]) for index in choose(len(moments))]
    except (av.FFmpegError, StopIteration) as error:
        raise ImageError(f"video: {path!r} is no animation or film that can be read, or is broken: {error}") from error


def _moment(packet: Any) -> int:
    return int(packet.dts if packet.pts is None else packet.pts)


def _frame_at(film: Any, stream: Any, moment: int) -> Any:
    frames = _from(film, stream, moment)
    first = next(frames, None)
    if first is None or first.pts > moment:  # a film without an index is entered too late
        frames = _from(film, stream, 0)
        first = next(frames)
    frame = first if first.pts >= moment else next(frame for frame in frames if frame.pts >= moment)
    return frame.to_image().rotate(frame.rotation, expand=True)  # telephones turn films by a note in the file


def _from(film: Any, stream: Any, moment: int) -> Iterator[Any]:
    film.seek(moment, stream=stream)
    frames: Iterator[Any] = film.decode(stream)
    return frames
