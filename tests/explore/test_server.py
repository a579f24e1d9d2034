"""The server refuses who is not its own page, and lives on whatever a page sends."""

import http.client
import json
import time
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fallline.explore import session
from fallline.explore.messages import LARGEST, read_frame
from fallline.explore.server import LARGEST_TABLE


def reply(server, path="/two-weights", method="GET", body=None, **headers):
    address = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    address.request(method, path, body, given)
    answer = address.getresponse()
    said = answer.read()
    address.close()
    return answer, said


def token(server):
    return urlsplit(server.url).query


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", "localhost:1", ""])
def test_a_request_for_another_host_is_refused(server, host):
    answer, said = reply(server, Host=host.format(port=server.port))
    assert answer.status == 403
    assert b"on this machine" in said


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_a_request_for_this_machine_is_answered(server, host):
    answer, said = reply(server, Host=host.format(port=server.port))
    assert answer.status == 200
    assert b"<main" in said


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_socket_or_a_file_from_another_page_is_refused(server, origin):
    address = server.url.replace("http", "ws").replace("/?", "/socket?")
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=origin, proxy=None)
    answer, _ = reply(server, f"/table?{token(server)}", "POST", b"a,b\n1,2\n", Origin=origin)
    assert answer.status == 403


@pytest.mark.parametrize("query", ["", "token=", "token=guess", "token=ü"])
def test_without_the_token_nothing_is_computed(server, query):
    with (
        connect(f"ws://127.0.0.1:{server.port}/socket?{query}", proxy=None) as socket,
        pytest.raises(ConnectionClosed) as lost,
    ):
        socket.recv(timeout=10)
    assert lost.value.rcvd.code == 4401
    for path, method in (("/table", "POST"), ("/file/model", "GET")):
        answer, said = reply(server, f"{path}?{query.encode('ascii', 'replace').decode()}", method, b"x")
        assert answer.status == 400
        assert "open the address that it printed" in json.loads(said)["error"]


def test_pages_may_ask_for_nothing_but_the_server_itself(server):
    answer, _ = reply(server)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/js/../../__init__.py", "/etc/passwd"]
)
def test_nothing_but_the_page_lies_open(server, path):
    answer, _ = reply(server, path)
    assert answer.status == 404


NAMES = (*session.SHORT, *session.LONG, session.TRAIN)
VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=12)
    | some.sampled_from(["valley", "tanh", "two", "x^x^x"]),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "data",
    "activation",
    "start",
    "rate",
    "momentum",
    "steps",
    "methods",
    "formula",
    "window",
    "x",
    "neuron",
    "points",
    "row",
    "weights",
    "target",
    "hidden",
]
HOSTILE = some.one_of(
    some.text(max_size=200),
    some.binary(max_size=200),
    VALUES.map(json.dumps),
    some.fixed_dictionaries(
        {"id": VALUES, "do": some.sampled_from(NAMES) | some.text(max_size=9)}, optional=dict.fromkeys(FIELDS, VALUES)
    ).map(json.dumps),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOSTILE)
def test_whatever_is_sent_is_answered_in_a_sentence_and_the_server_lives_on(line, message):
    line.socket.send(message)
    said, _ = line.ask("slope", formula="x^2", x=2, rate=0.1, momentum=0, steps=3, window=[-3, 3])
    assert said["slope"] == 4.0
    refused = [each["error"] for each in line.news if "error" in each]
    assert [words for words in refused if not words.endswith(".")] == []
    line.news.clear()


BENIGN = {
    "data": "valley", "activation": "tanh", "start": [0.5, -1], "rate": 0.5, "momentum": 0.5, "steps": 9, "methods": ["plain"],
    "formula": "x^2", "window": [-3, 3], "x": 1, "neuron": "two", "points": 5, "row": 1, "weights": [1, 1],
}  # fmt: skip
OF = {
    "slope": ["formula", "window", "x", "rate", "momentum", "steps"],
    "two-weights": ["data", "activation"],
    "two-weights walk": ["data", "activation", "start", "rate", "momentum", "steps", "methods"],
    "two-weights row": ["data", "activation", "row", "weights"],
    "local-minima walk": ["neuron", "start", "rate", "momentum"],
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.data())
def test_one_wrong_field_is_an_error_that_names_it(line, data):
    what = data.draw(some.sampled_from(sorted(OF)))
    field = data.draw(some.sampled_from(OF[what]))
    wrong = data.draw(
        some.sampled_from([None, True, {}, [[]], [1e999, 1], "no such thing" * 20, 10**400, -(10**9) - 0.5, "\x00"])
    )
    said, _ = line.ask(what, **{name: BENIGN[name] for name in OF[what]} | {field: wrong})
    assert field in said["error"] or "formula" in said["error"]


@pytest.mark.parametrize(
    "extreme", [{"start": [1e3, -1e3]}, {"rate": 1e5}, {"rate": 1e-5}, {"momentum": 0.99, "rate": 1e5}], ids=str
)
def test_extreme_numbers_are_answered(line, extreme):
    fields = {name: BENIGN[name] for name in OF["two-weights walk"]} | {
        "steps": 400,
        "methods": ["plain", "momentum", "nesterov", "levenberg-marquardt"],
    }
    said, arrays = line.ask("two-weights walk", **fields | extreme)
    assert set(said["paths"]) == {"plain", "momentum", "nesterov", "levenberg-marquardt"}
    assert len(arrays["plain weights"]) <= 401


def test_a_message_that_is_too_large_ends_its_own_page_only(server, line_to, line):
    with line_to(server) as other:
        other.socket.send("x" * (LARGEST + 1))
        with pytest.raises(ConnectionClosed) as lost:
            other.socket.recv(timeout=20)
        assert lost.value.rcvd.code == 1009
    assert line.ask("slope", formula="x^2", x=1, rate=0.1, momentum=0, steps=1, window=[-1, 1])[0]["slope"] == 2.0


def test_two_pages_do_not_disturb_each_other(table_server, line_to):
    with line_to(table_server) as one, line_to(table_server) as two:
        one.ask("network train", target="height", hidden="2", starts=1, descent="auto", seed=0)
        assert one.ask("network columns")[0]["trained"]
        assert not two.ask("network columns")[0]["trained"]
        assert "nothing is trained yet" in two.ask("network")[0]["error"]


def test_a_closed_page_frees_its_work(server, line_to):
    before = server.pages
    with line_to(server) as line:
        line.socket.send(
            json.dumps(
                {"id": 1, "do": "local-minima basins", "neuron": "two", "rate": 1e-3, "momentum": 0, "points": 81}
            )
        )
        line.ask("slope", formula="x^2", x=1, rate=0.1, momentum=0, steps=1, window=[-1, 1])
        assert server.pages == before + 1
    until = time.monotonic() + 60
    while server.pages > before and time.monotonic() < until:
        time.sleep(0.02)
    assert server.pages == before


def test_newer_work_takes_the_place_of_older(line):
    for number, points in ((901, 81), (902, 5)):
        line.socket.send(
            json.dumps(
                {
                    "id": number,
                    "do": "local-minima basins",
                    "neuron": "two",
                    "rate": 1,
                    "momentum": 0.5,
                    "points": points,
                }
            )
        )
    answers = dict(read_frame(line.socket.recv(timeout=60))[:2] for _ in range(2))
    assert answers[902]["starts"] == 25
    assert answers[901] == {"dropped": True}


def posted(server, line, content, name, query=""):
    path = f"/table?{token(server)}&session={line.said['session']}&name={name}{query}"
    answer, said = reply(server, path, "POST", content)
    return answer.status, json.loads(said)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("", b"a,b\n1,2\n", "needs a name"),
        ("n" * 300, b"a,b\n1,2\n", "needs a name"),
        ("empty.csv", b"", "empty.csv"),
        ("broken.parquet", b"PAR1 nothing", "Parquet"),
        ("old.fallline", b"\x00\x01", "old.fallline"),
    ],
    ids=["no name", "long name", "empty", "damaged", "no model"],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(server, line, name, content, says):
    status, said = posted(server, line, content, name)
    assert status == 400
    assert says in said["error"]


def test_the_path_in_a_files_name_leads_nowhere(server, line):
    status, said = posted(server, line, b"a,b,c\n1,2,3\n2,3,4\n", "..%2F..%2Fetc%2Fx.csv")
    assert (status, said["opened"]) == (200, "x.csv")


def test_a_file_that_is_too_large_is_refused(server, line, monkeypatch):
    from fallline.explore import server as module

    monkeypatch.setattr(module, "LARGEST_TABLE", 1000)
    status, said = posted(server, line, b"a,b\n" + b"1,2\n" * 1000, "large.csv")
    assert status == 400
    assert "fallline explore large.csv" in said["error"]
    assert LARGEST_TABLE > 1 << 20


@pytest.mark.parametrize("name", ["model", "report.html", "surface.png", "passwd"])
def test_a_file_of_a_fit_that_is_not_there_is_refused(server, line, name):
    answer, said = reply(server, f"/file/{name}?{token(server)}&session={line.said['session']}")
    assert answer.status == 400
    assert "nothing is trained yet" in json.loads(said)["error"]


def test_what_nobody_thought_of_is_told_and_the_server_lives_on(line, monkeypatch, caplog):
    def broken(given, session):
        raise RuntimeError("no one thought of this")

    monkeypatch.setitem(session.SHORT, "slope", broken)
    said, _ = line.ask("slope")
    assert "RuntimeError: no one thought of this" in said["error"]
    assert "a request of the live page failed" in caplog.text
    assert "error" in line.ask("two-weights")[0]
