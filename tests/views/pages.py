"""Reads the desk's pages as a person's browser does, and looks each of them over.

``DeskClient`` is Django's test client whose every HTML answer is checked: whole pages have a title
and one heading, nothing is inline, ids are unique, every field has a label. ``Page`` finds what a
page shows and what its forms would post.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import chain
from typing import Any, Protocol

from django.contrib.auth.models import User
from django.test import Client

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
_WITHOUT_LABEL = frozenset({"hidden", "submit", "button", "reset", "image"})


@dataclass
class Element:
    """One element with what is in it."""

    tag: str
    attributes: dict[str, str]
    parent: "Element | None" = None
    children: list["Element | str"] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str) -> str:
        """Return an attribute's value, empty where it is not there."""
        return self.attributes.get(name, "")

    @property
    def text(self) -> str:
        """The text in it, with single spaces."""
        return " ".join("".join(self._pieces()).split())

    def _pieces(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in {"script", "title"}:
                yield from child._pieces()
                # Blocks stand apart on the screen.
                if child.tag not in {"a", "span", "strong", "code", "i", "time"}:
                    yield " "

    def walk(self) -> Iterator["Element"]:
        """Give every element in it, in the order of the page."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.walk()

    def all(self, tag: str, **attributes: str) -> list["Element"]:
        """Return the elements of a tag that have these attributes; ``class_`` is one word of it."""
        return [
            each
            for each in self.walk()
            if each.tag == tag
            and all(
                value in each.get("class").split()
                if name == "class_"
                else each.attributes.get(name) == value
                for name, value in attributes.items()
            )
        ]

    def one(self, tag: str, **attributes: str) -> "Element":
        """Return the one element of a tag that has these attributes."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {attributes}"
        return found[0]


class _Builder(HTMLParser):
    """Builds the tree of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open)
        self._open.children.append(element)
        if tag not in _VOID:
            self._open = element

    def handle_endtag(self, tag: str) -> None:
        assert self._open.tag == tag, f"</{tag}> closes <{self._open.tag}>"
        assert self._open.parent is not None
        self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        self._open.children.append(data)


class Answer(Protocol):
    """What the test client answers with, as far as a page needs it."""

    @property
    def content(self) -> bytes:
        """The body."""


class Page:
    """An HTML answer: a whole page, or what htmx puts into one."""

    def __init__(self, response: Answer) -> None:
        builder = _Builder()
        builder.feed(response.content.decode())
        builder.close()
        assert builder._open is builder.root, f"<{builder._open.tag}> is not closed"
        self.root = builder.root
        self.is_whole = bool(self.root.all("html"))

    @property
    def text(self) -> str:
        """All the text of the page."""
        return self.root.text

    @property
    def main(self) -> Element:
        """The page without its head and navigation."""
        return self.root.one("main")

    @property
    def title(self) -> str:
        """The page's title."""
        return "".join(each for each in self.root.one("title").children if isinstance(each, str))

    @property
    def rows(self) -> list[str]:
        """The first cell of each row of the lists on the page."""
        return [
            body.all("th")[0].text for body in self.root.all("tr") if body.all("th", scope="row")
        ]

    @property
    def errors(self) -> list[str]:
        """What the summary at the top says is wrong."""
        summaries = self.root.all("div", class_="error-summary")
        return [each.text for summary in summaries for each in summary.all("li") or [summary]]

    @property
    def messages(self) -> list[str]:
        """What the page says has just happened."""
        return [each.text for each in self.root.one("div", id="messages").all("p")]

    @property
    def notices(self) -> list[str]:
        """The notices in the page itself."""
        return [
            each.text
            for each in self.root.all("p", class_="notice")
            if each.parent is None or each.parent.get("id") != "messages"
        ]

    @property
    def buttons(self) -> list[str]:
        """What the buttons in the page's main part say."""
        return [each.text for each in self.main.all("button") if "hidden" not in each.attributes]

    def link(self, text: str) -> str:
        """Return where the link with this text leads to."""
        found = {each["href"] for each in self.root.all("a") if each.text == text}
        assert len(found) == 1, f"{found} for {text}"
        return found.pop()

    def has_link(self, address: str) -> bool:
        """Tell whether anything in the main part leads to an address."""
        return bool(self.main.all("a", href=address))

    def form(self, button: str) -> Element:
        """Return the form that the button with this text sends."""
        found = [each for each in self.main.all("button") if each.text == button]
        assert len(found) == 1, f"{len(found)} buttons say {button}: {self.buttons}"
        element: Element | None = found[0]
        if name := found[0].get("form"):
            return self.root.one("form", id=name)
        while element is not None and element.tag != "form":
            element = element.parent
        assert element is not None, f"the button {button} is in no form"
        return element

    def values(self, button: str) -> dict[str, str]:
        """Return what the form of this button would post as it stands."""
        return dict(fields(self.form(button)))


def fields(form: Element) -> Iterator[tuple[str, str]]:
    """Give the names and values a form would post."""
    for each in form.walk():
        if not each.get("name") or "disabled" in each.attributes:
            continue
        if each.tag == "select":
            chosen = [every for every in each.all("option") if "selected" in every.attributes]
            yield each["name"], (chosen or each.all("option"))[0].get("value")
        elif each.tag == "textarea":
            # A browser leaves out the line break right after the tag.
            yield each["name"], "".join(map(str, each.children)).removeprefix("\n")
        elif each.tag == "input" and (
            each.get("type") not in {"radio", "checkbox"} or "checked" in each.attributes
        ):
            yield (
                each["name"],
                each.get("value") or ("on" if each.get("type") == "checkbox" else ""),
            )


def look_over(page: Page) -> None:
    """Check what holds for every page, whatever it shows."""
    elements = list(page.root.walk())
    for each in elements:
        assert each.tag != "style", "a style element"
        assert each.tag != "script" or each.get("src"), "an inline script"
        inline = [n for n in each.attributes if n == "style" or n.startswith(("on", "hx-on"))]
        assert not inline, f"{each.tag} has {inline}"
    ids = [each["id"] for each in elements if "id" in each.attributes]
    assert len(ids) == len(set(ids)), (
        f"ids used twice: {sorted({i for i in ids if ids.count(i) > 1})}"
    )
    labelled = {each.get("for") for each in elements if each.tag == "label" and each.text}
    for each in elements:
        if each.tag in {"input", "select", "textarea"} and each.get("type") not in _WITHOUT_LABEL:
            has_label = each.get("id") in labelled or each.get("aria-label")
            assert has_label, f"{each.tag} {each.get('name')} has no label"
        if each.tag in {"button", "a"}:
            assert each.text or each.get("aria-label"), f"{each.tag} {each.attributes} says nothing"
        if each.tag == "form" and each.get("method") == "post":
            assert each.all("input", name="csrfmiddlewaretoken"), (
                f"form {each.attributes} has no token"
            )
    assert "{%" not in page.text, "template code shows"
    assert "{{" not in page.text, "template code shows"
    if page.is_whole:
        _look_over_whole(page, elements, set(ids))


def _look_over_whole(page: Page, elements: list[Element], ids: set[str]) -> None:
    headings = page.root.all("h1")
    assert len(headings) == 1, f"{len(headings)} headings of the first rank"
    assert headings[0].text, "an empty heading"
    assert page.title.split(" – ")[0].strip(), "no title"
    assert page.root.one("html").get("lang"), "no language"
    for each in elements:
        named = [
            *each.get("aria-describedby").split(),
            *each.get("aria-labelledby").split(),
            *([each["for"]] if each.get("for") else []),
        ]
        if each.tag == "a" and each.get("href").startswith("#"):
            named.append(each["href"][1:])
        missing = [name for name in named if name not in ids]
        assert not missing, f"{each.tag} {each.attributes} names {missing}, which is not there"


class DeskClient(Client):
    """Django's test client; every HTML answer it gets is looked over."""

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        if response.headers.get("Content-Type", "").startswith("text/html") and response.content:
            look_over(Page(response))
        return response

    def page(self, address: str, status: int = 200, **options: Any) -> Page:
        """Get an address and return its page; the answer must have this status."""
        response = self.get(address, **options)
        assert response.status_code == status, f"{response.status_code} at {address}"
        return Page(response)


def signed_in(user: User, **options: Any) -> DeskClient:
    """Return a client in which this person is signed in."""
    client = DeskClient(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def flat(pages: Iterable[list[str]]) -> list[str]:
    """Return the rows of all pages of a list as one."""
    return list(chain.from_iterable(pages))
