"""What the tests of the pages share: a browser without scripts, and a place where something has happened.

Belongs here: signing in, reading pages as a reader without a mouse does. Does not belong here: fixtures, assertions
of one page.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from wotr_pipeline.stores.api_keys import Scope

from .conftest import Edge

HOSTILE = """<script>alert(1)</script>'"; DROP TABLE dead_letters; --"""
"""Script and SQL in one: every text that someone else chose is this somewhere in the tests."""
_BLOCKS = {"dt", "dd", "th", "td", "p", "li", "h1", "h2", "h3", "caption", "pre"}
_VOID = {"meta", "link", "input", "br", "img", "hr", "rect"}


@dataclass
class Element:
    """A start tag, its attributes, and the text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page as a list of its elements, in order."""

    elements: list[Element] = field(default_factory=list)
    open_tags: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, answer: httpx.Response) -> "Page":
        assert answer.headers["content-type"].startswith("text/html"), answer.text
        page = cls()
        page.feed(answer.text)
        assert not page.open_tags, f"never closed: {[element.tag for element in page.open_tags]}"
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self.open_tags.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags, f"</{tag}> closes nothing"
        assert self.open_tags[-1].tag == tag, f"</{tag}> closes <{self.open_tags[-1].tag}>"
        self.open_tags.pop()
        if tag in _BLOCKS:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self.open_tags:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag
            and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    @property
    def text(self) -> str:
        return " ".join(self.all("body")[0].text.split())


def signed_in(edge: Edge, *scopes: Scope) -> httpx.Client:
    """A client with a session, as a browser has one."""
    client = edge.client()
    answer = client.post("/sign-in", data={"key": edge.key(*scopes)})
    assert answer.status_code == 303
    return client


def csrf_token(client: httpx.Client) -> str:
    """The token of the session, as every page has it."""
    (meta,) = Page.of(client.get("/admin/")).all("meta", name="csrf-token")
    return meta.attributes["content"]
