"""Frames of film files: those of the list of all frames, whatever the container, and what goes wrong."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import sgl_lite as sgl
from runtime.errors import ImageError

av = pytest.importorskip("av", reason="the extra `video`, part of `dev`")

COUNT = 30
CODECS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4", "ts": "libx264"}


def write(path: Path, codec: str, frames: Iterable[np.ndarray]) -> None:
    """Few key frames, and frames that are stored in another order than they are shown in."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 12
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())


def brightness(video: Any) -> list[float]:
    return [(one.image.pixels.mean() - 10) / 8 for one in video]


@pytest.mark.parametrize("container", CODECS)
def test_frames_are_those_of_the_list(container: str, tmp_path: Path) -> None:
    path = tmp_path / f"film.{container}"
    grey = [np.full((48, 64, 3), 10 + 8 * number, np.uint8) for number in range(COUNT)]
    write(path, CODECS[container], grey)
    for wanted in (1, 3, 7, COUNT, COUNT + 5):
        expected = brightness(sgl.video(grey, wanted))
        assert brightness(sgl.video(path, wanted)) == pytest.approx(expected, abs=0.4)


def test_a_film_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    left_is_dark = np.zeros((48, 64, 3), np.uint8)
    left_is_dark[:, 32:] = 255
    write(path, "libx264", [left_is_dark] * 3)
    data = bytearray(path.read_bytes())
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)  # a quarter clockwise
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + len(turned)] = turned
    path.write_bytes(data)
    (picture,) = sgl.video(path, 1)  # type: ignore[attr-defined]
    pixels = picture.image.pixels
    assert pixels.shape == (64, 48, 3) and pixels[:28].max() < 40 and pixels[36:].min() > 215


def test_what_goes_wrong_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "film.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" * 9)
    with pytest.raises(ImageError, match=r"film.mp4' is no animation or film that can be read"):
        sgl.video(broken, 4)
    whole = tmp_path / "whole.mkv"
    write(whole, "libx264", [np.zeros((48, 64, 3), np.uint8)] * COUNT)
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
    with pytest.raises(ImageError, match="holds no pictures"):
        sgl.video(sound, 4)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(sgl.ArgumentError, match=r"pip install 'sgl-lite\[video\]'"):
        sgl.video(whole, 4)


def test_an_animation_needs_no_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    frames = [PIL.Image.new("RGB", (8, 8), (10 + 8 * n,) * 3) for n in range(6)]
    for name in ("film.gif", "film.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50, lossless=True)
        assert brightness(sgl.video(tmp_path / name, 3)) == pytest.approx([1, 3, 5], abs=0.4)
