"""Images: what counts as one, how each kind becomes RGB, what is refused, and that the key is the pixels."""

from __future__ import annotations

import base64
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.api import ImageSupport, PromptImage
from runtime.errors import ImageError, RequestError
from runtime.images import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


PNG = encoded(PIL.Image.fromarray(PIXELS))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serves `/ok`, `/redirect`, `/slow` (never ends), `/large`, `/missing`, and `/file` (redirects to a file)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in ("/redirect", "/file"):
                self.send_response(302)
                self.send_header("Location", "/ok" if self.path == "/redirect" else "file:///etc/hostname")
                self.end_headers()
                return
            self.send_response(404 if self.path == "/missing" else 200)
            self.end_headers()
            if self.path == "/slow":
                for _ in range(20):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    if stop.wait(0.05):
                        return
            elif self.path == "/large":
                self.wfile.write(b"x" * 5000)
            elif self.path == "/ok":
                self.wfile.write(PNG)

        def log_message(self, *args: Any) -> None:
            return

    stop = threading.Event()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    stop.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_every_source_gives_the_same_image(tmp_path: Path, server: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(PNG)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    sources = [
        path, str(path), path.as_uri(), PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), url,
        f"{server}/ok", f"{server}/redirect",
        PIL.Image.fromarray(PIXELS), PIXELS, PIXELS[::-1][::-1], PIXELS.transpose(2, 0, 1), PIXELS.astype(np.int64),
        PIXELS / 255.0, PIXELS.astype(np.uint16) * 257,
        torch.from_numpy(PIXELS), torch.from_numpy(PIXELS).permute(2, 0, 1), torch.from_numpy(PIXELS) / 255,
    ]  # fmt: skip
    for source in sources:
        image = Image.of(source)
        assert np.array_equal(image.pixels, PIXELS) and image.key == Image.of(PIXELS).key, source
        assert (image.width, image.height) == (9, 6) and not image.pixels.flags.writeable
    assert Image.of(image) is image
    assert Image.of(image.to_png()) == image and len(image.key) == 32
    assert Image.all_of([PNG, url]) == (image, image)


def test_pixels_are_a_copy() -> None:
    mine = PIXELS.copy()
    image = Image.of(mine)
    mine[0, 0] = 0
    assert image == Image.of(PIXELS)


def test_kinds_of_files() -> None:
    rgb = PIL.Image.fromarray(PIXELS)
    grey = rgb.convert("L")
    assert np.array_equal(Image.of(encoded(grey)).pixels, np.asarray(grey.convert("RGB")))
    palette = rgb.convert("P", palette=PIL.Image.Palette.ADAPTIVE)
    assert np.array_equal(Image.of(encoded(palette)).pixels, np.asarray(palette.convert("RGB")))
    bit = rgb.convert("1")
    assert np.array_equal(Image.of(encoded(bit)).pixels, np.asarray(bit.convert("RGB")))
    cmyk = encoded(rgb.convert("CMYK"), "JPEG", quality=95)
    assert np.array_equal(Image.of(cmyk).pixels, np.asarray(PIL.Image.open(io.BytesIO(cmyk)).convert("RGB")))
    wide = (np.arange(54, dtype=np.uint16) * 1200).reshape(6, 9)
    assert np.array_equal(
        Image.of(encoded(PIL.Image.fromarray(wide))).pixels[..., 1], np.rint(wide / 257).astype(np.uint8)
    )
    frames = [PIL.Image.fromarray(np.full((6, 9, 3), value, np.uint8)) for value in (10, 200)]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (Image.of(animated).pixels == 10).all(), kind


def test_alpha_is_laid_on_white() -> None:
    alpha = np.linspace(0, 255, 54).astype(np.uint8).reshape(6, 9, 1)
    expected = np.rint((PIXELS * (alpha / 255.0)) + 255 * (1 - alpha / 255.0))
    rgba = np.concatenate([PIXELS, alpha], axis=2)
    for source in (rgba, encoded(PIL.Image.fromarray(rgba))):
        assert np.abs(Image.of(source).pixels.astype(int) - expected).max() <= 1
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    file = encoded(palette, transparency=1)
    assert Image.of(file).pixels.tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_it_upright(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    turned = Image.of(encoded(PIL.Image.fromarray(PIXELS), "PNG", exif=exif)).pixels
    expected = {
        1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 4: PIXELS[::-1], 5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1), 7: np.rot90(PIXELS.transpose(1, 0, 2), 2), 8: np.rot90(PIXELS),
    }  # fmt: skip
    assert np.array_equal(turned, expected[orientation])


BAD = [
    (b"", "empty"),
    (b"not an image at all", "not an image"),
    (PNG[:60], "truncated or broken"),
    (encoded(PIL.Image.fromarray(np.zeros((64, 64, 3), np.uint8)), "JPEG")[:300], "truncated or broken"),
    (encoded(PIL.Image.new("1", (14_000, 14_000))), "decompression bomb"),
    (encoded(PIL.Image.new("1", (9_000, 9_000))), "more than"),
    (encoded(PIL.Image.new("1", (100_000, 1))), "narrow"),
    (PIL.Image.new("RGB", (0, 0)), "no pixels"),
    (np.zeros((0, 0, 3), np.uint8), "no pixels"),
    (np.zeros((5, 5, 7), np.uint8), "no axis of 1, 3 or 4"),
    (np.zeros(4, np.uint8), "shape"),
    (np.full((2, 2), 300), "0..255"),
    (np.full((2, 2), -1.0), "0..1"),
    (np.full((2, 2), np.nan), "0..1"),
    (np.array([["a"]]), "uint8"),
    ("/nowhere/image.png", "cannot read"),
    ("a\0b", "cannot read"),
    ("/", "folder"),
    ("data:image/png;base64", "no comma"),
    ("data:image/png;base64,****", "not base64"),
    ("http://127.0.0.1:9/image.png", "cannot fetch"),
    (io.StringIO("text"), "binary mode"),
    (7, "int is no image"),
    (None, "NoneType is no image"),
]


@pytest.mark.parametrize(("source", "words"), BAD, ids=[words + str(i) for i, (_, words) in enumerate(BAD)])
def test_bad_sources(source: Any, words: str) -> None:
    with pytest.raises(ImageError, match=r"^images\[3\]: ") as caught:
        Image.of(source, name="images[3]")
    assert words in str(caught.value)
    assert isinstance(caught.value, RequestError)


def test_downloads_have_limits(server: str) -> None:
    for path, options, words in (
        ("/slow", {"timeout": 0.2}, "within 0.2 s"),
        ("/large", {"max_bytes": 1000}, "larger than 1000 bytes"),
        ("/missing", {}, "Not Found"),
        ("/file", {}, "cannot fetch"),
        ("/ok", {"allow_urls": False}, "switched off"),
    ):
        with pytest.raises(ImageError, match=words):
            Image.of(server + path, **options)


def test_files_can_be_switched_off(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(PNG)
    for source in (path, str(path), path.as_uri()):
        with pytest.raises(ImageError, match="switched off"):
            Image.of(source, allow_files=False)
    with pytest.raises(ImageError, match="more than 10"):
        Image.of(path, max_bytes=10)


@given(st.data())
def test_key_is_the_pixels_and_the_size(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    pixels = np.random.default_rng(data.draw(st.integers(0, 1 << 30))).integers(0, 256, (height, width, 3))
    pixels = pixels.astype(np.uint8)
    image = Image.of(pixels)
    assert Image.of(encoded(PIL.Image.fromarray(pixels))).key == image.key
    changed = pixels.copy()
    at = tuple(data.draw(st.integers(0, size - 1)) for size in changed.shape)
    changed[at] = (int(changed[at]) + data.draw(st.integers(1, 255))) % 256
    assert Image.of(changed).key != image.key and Image.of(changed) != image
    if height != width:
        assert Image.of(pixels.reshape(width, height, 3)).key != image.key


def test_places_in_a_rendered_template() -> None:
    support = ImageSupport("<image>", ("<image>", "<video>"), 4)
    assert support.split("a<image>\nbc<image><image>") == ("a\nbc", (1, 4, 4))
    assert support.split("plain") == ("plain", ())
    assert support.reserved_in("see <video> here") == "<video>" and support.reserved_in("see <b>") is None
    with pytest.raises(RequestError, match="make one with"):
        PromptImage("x", 0)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="at=-1"):
        PromptImage(Image.of(PIXELS), -1)
