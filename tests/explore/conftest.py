"""The live page at work: a server on two tables, a socket to speak to it from Python, and a browser."""

import contextlib
import json
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.sync.client import connect

from fallline.explore.messages import read_frame
from fallline.explore.server import Server
from fallline.explore.work import Opened


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table of 90 rows: two inputs, a kind, and a height that depends on all of them."""
    random = np.random.default_rng(4)
    girth, age = random.uniform(1, 5, 90).round(3), random.integers(1, 60, 90)
    kind = random.choice(["oak", "ash"], 90)
    height = 3 + 2 * girth + 0.1 * age + 4 * (kind == "oak") + random.normal(0, 0.3, 90)
    path = tmp_path_factory.mktemp("tables") / "trees.csv"
    rows = (f"{g},{a},{k},{t:.3f}\n" for g, a, k, t in zip(girth, age, kind, height, strict=True))
    path.write_text("girth,age,kind,height\n" + "".join(rows))
    return path


@contextlib.contextmanager
def serving(opened, **settings):
    server = Server(opened, **settings).begin()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def server():
    """A page on nothing."""
    with serving(Opened()) as server:
        yield server


@pytest.fixture(scope="session")
def table_server(table):
    """A page on the table."""
    with serving(Opened.of(table, "height")) as server:
        yield server


class Line:
    """A socket to the server: ``ask`` waits for the answer to its own request, ``news`` is what came before it."""

    def __init__(self, socket):
        self.socket, self.number, self.news = socket, 0, []
        _, self.said, _ = read_frame(socket.recv(timeout=30))

    def ask(self, what, **fields):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "do": what, **fields}))
        while True:
            number, said, arrays = read_frame(self.socket.recv(timeout=60))
            if number == self.number:
                return said, arrays
            self.news.append(said)


@pytest.fixture(scope="session")
def line_to():
    """What opens a line to a server, as a context."""

    @contextlib.contextmanager
    def opened(server, **settings):
        address = server.url.replace("http", "ws").replace("/?", "/socket?")
        with connect(address, max_size=None, proxy=None, **settings) as socket:
            yield Line(socket)

    return opened


@pytest.fixture
def line(server, line_to):
    with line_to(server) as line:
        yield line


@pytest.fixture
def open_page(browser):
    """What opens a place of a server in a tab. At the end: no complaint, no failed request, none to another host."""
    tabs = []

    def opened(server, place, query="", *, size=(1280, 900), scheme="light", expect_loss=False):
        tab = browser.new_page()
        tab.amiss, tab.forgives = [], expect_loss
        tab.on("console", lambda message: tab.amiss.append(message.text))
        tab.on("pageerror", lambda error: tab.amiss.append(str(error)))
        tab.on("requestfailed", lambda request: tab.amiss.append(f"{request.url} failed"))
        host = urlsplit(server.url).netloc

        def asked(request):
            address = urlsplit(request.url)
            tab.amiss += [request.url] * (address.scheme in ("http", "https") and address.netloc != host)

        tab.on("request", asked)
        tab.set_viewport_size({"width": size[0], "height": size[1]})
        tab.emulate_media(color_scheme=scheme)
        tab.goto(server.url.replace("/?", f"/{place}?") + query)
        tabs.append(tab)
        return tab

    yield opened
    for tab in tabs:
        tab.close()
    assert [each for tab in tabs if not tab.forgives for each in tab.amiss] == []
