"""The page of a run: what it shows, and that it needs nothing else. Looked at in a browser by hand, not here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import sgl_lite as sgl
from sgl_lite.display.picture import Piece, StatePicture, picture_of
from sgl_lite.interpreter.segments import Record, Segment
from tests.sgl_lite.fake_backend import FakeBackend
from tests.sgl_lite.tiny_model import write_tiny_model

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def classed(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def pieces(picture: StatePicture) -> list[Piece]:
    return [item for item in picture.items if isinstance(item, Piece)]


@sgl.function
def advice(s, question):
    s += sgl.user(question)
    with s.assistant(), s.constrain(regex="<[a-z]+>"):
        s += "<"
        s += sgl.gen("word", max_tokens=4)
        s += ">"
    forks = s.fork(2)
    forks += lambda i: sgl.user(f"Tip {i}") + sgl.assistant(sgl.gen("tip", max_tokens=6))
    forks.join()
    s += sgl.user("Well?")
    s += sgl.assistant(sgl.select("verdict", ["good", "bad"]))


def test_the_page_of_a_tree(backend: FakeBackend, tmp_path: Path) -> None:
    state = advice("Is 1 < 2 & true?")
    html = state.to_html(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text() == html
    page = Page(html)
    assert len(page.classed("state")) == 3 and len(page.classed("forks")) == 1
    assert "Is 1 < 2 & true?" in page.text and "Tip 1" in page.text and "choice among 'good'" in page.text
    rows = re.findall(r"<tr><td>(\w+)</td>", html)
    assert sorted(rows) == ["tip", "tip", "verdict", "word"]


def test_the_page_asks_nobody(backend: FakeBackend) -> None:
    page = Page(advice("Q").to_html())
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe"})
    assert all(not {"src", "href"} & attrs.keys() for _, attrs in page.tags)
    assert "url(" not in advice("Q").to_html() and "@import" not in advice("Q").to_html()


def test_the_pieces_join_to_the_text(backend: FakeBackend) -> None:
    state = advice("Q")
    text = state.text()
    own = pieces(picture_of(state.interpreter, "x"))
    assert "".join(piece.text for piece in own) == text
    by_origin = {
        origin: "".join(p.text for p in own if p.origin == origin) for origin in ("program", "forced", "model")
    }
    assert by_origin == {"program": "QWell?", "forced": "<>", "model": state["word"] + state["verdict"]}


def test_a_failed_run_is_drawn_as_far_as_it_came(backend: FakeBackend) -> None:
    def answer(request):
        raise ConnectionError("no <model>")

    @sgl.function
    def program(s):
        s += "begin "
        s += sgl.gen("x", max_tokens=3)
        _ = s["x"]
        backend.answer = answer
        s += sgl.gen("y")

    (state,) = program.run_batch([()])
    assert "ConnectionError: no <model>" in Page(state.to_html()).text and "begin " in Page(state.to_html()).text


def test_a_template_that_writes_around_content() -> None:
    record = Record()
    record.add(Segment("Hi", "program", 0))
    record.template_wrote("Hi", "<u>Hi</u>", 0)
    record.add(Segment("x", "model", 9, "x", {}))
    record.template_wrote("<u>Hi</u>x", "<u>Hi</u>x.", 9)
    assert [(s.text, s.origin, s.start) for s in record] == [
        ("<u>", "template", 0),
        ("Hi", "program", 3),
        ("</u>", "template", 5),
        ("x", "model", 9),
        (".", "template", 10),
    ]
    record.template_wrote(
        "<u>Hi</u>x.", "<b>Hi</u>x.", 9
    )  # rewritten: what was there stays, and what it became follows
    assert "".join(s.text for s in record) == "<u>Hi</u>x." + "b>Hi</u>x."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sgl.Engine]:
    with sgl.Engine(str(write_tiny_model(tmp_path_factory.mktemp("model")))) as engine:
        yield engine


@sgl.function
def on_a_model(s):
    s += "the name of the person is a long beginning: " * 2
    s += sgl.gen("free", max_tokens=8, ignore_eos=True) + " and "
    s += sgl.gen("held", regex='(yes|no) \\{"name": "Ada"\\}', max_tokens=40)


def test_tokens_with_their_chances(engine: sgl.Engine) -> None:
    on_a_model(backend=engine, temperature=1.0, seed=3).sync()
    state = on_a_model(backend=engine, return_logprob=True, top_logprobs_num=2, temperature=1.0, seed=3)
    html = state.to_html()
    own = pieces(picture_of(state.interpreter, "x"))
    free, held = (piece for piece in own if piece.origin == "model")
    assert (
        "".join(t.text for t in free.tokens) == state["free"] and "".join(t.text for t in held.tokens) == state["held"]
    )
    assert all(t.logprob is not None and t.logprob <= 0 and len(t.top) >= 2 for t in free.tokens + held.tokens)
    assert all(t.allowed is None for t in free.tokens) and all(t.allowed for t in held.tokens)
    forced = sum(t.allowed == 1 for t in held.tokens)
    assert forced == state.get_meta_info("held")["forced_tokens"] > 0
    assert len(Page(html).classed("byforce")) == forced
    assert html.count("probability ") == len(free.tokens) + len(held.tokens)


def test_what_was_computed_before(engine: sgl.Engine) -> None:
    engine.flush_cache()
    first = on_a_model(backend=engine, temperature=0).sync()
    again = on_a_model(backend=engine, temperature=0).sync()
    cold, warm = (pieces(picture_of(state.interpreter, "x"))[0] for state in (first, again))
    assert not cold.cached and warm.cached
    ids = engine.encode(again.text())[: again.get_meta_info("free")["cached_tokens"]]
    assert warm.text == engine.decode(ids)
