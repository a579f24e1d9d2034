"""The server of the page: routes, what it refuses, and its life from the first request to Ctrl-C.

It listens on the loopback address. A request for another host is refused, so that a name that is made to point here (DNS
rebinding) is of no use, and so is a socket or a file that another site's page asks for; whoever has not the token of the printed
address sees the empty page only. Nothing is computed here.
"""

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from fallline.exceptions import FalllineError, SettingsError
from fallline.explore import two_weights
from fallline.explore.messages import LARGEST
from fallline.explore.session import Session
from fallline.explore.work import Opened, Work

PLACES = ("slope", "two-weights", "local-minima", "your-network")
LARGEST_TABLE = 256 << 20  # bytes that may be dropped on the page
_STATIC = Path(__file__).parent / "static"
_MOST_PAGES = 32
_FRAMES = "'self' http://localhost:* http://127.0.0.1:* vscode-webview:"  # where notebooks live
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' {socket}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors " + _FRAMES
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


class Guard:
    """Lets a request in that is for this host and, where it says where it comes from, comes from this host's pages."""

    def __init__(self, app: Any, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if host not in self._hosts or (origin is not None and urlsplit(origin).netloc != host):
            refused = PlainTextResponse("This address is for the page that fallline opened on this machine.\n", 403)
            await refused(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = _POLICY.format(socket=f"ws://{host}")
                more = {**_HEADERS, "Content-Security-Policy": policy}
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in more.items()]
            await send(message)

        await self._app(scope, receive, with_headers)


class Explorer:
    """The pages that are open on one table or model, and the routes that serve them.

    ``opened``: what each of them begins with. ``token``: what an address must hold.
    """

    def __init__(self, opened: Opened, token: str | None = None) -> None:
        self.opened, self.token = opened, token or secrets.token_urlsafe(18)
        self.sessions: dict[str, Session] = {}

    def app(self, hosts: frozenset[str]) -> Guard:
        """The application, for requests to these hosts."""
        routes = [
            Route("/", self._home),
            *(Route(f"/{place}", self._page) for place in PLACES),
            WebSocketRoute("/socket", self._socket),
            Route("/table", self._table, methods=["POST"]),
            Route("/file/{name}", self._file),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        return Guard(Starlette(routes=routes), hosts)

    async def _home(self, request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/{'your-network' if self.opened.name else 'two-weights'}{query}")

    async def _page(self, request: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    def _is_known(self, query: Any) -> bool:
        return secrets.compare_digest(str(query.get("token", "")).encode(), self.token.encode())

    def _session(self, request: Request) -> Session:
        if not self._is_known(request.query_params):
            raise SettingsError(
                "the token of this address is not that of the server: open the address that it printed."
            )
        session = self.sessions.get(request.query_params.get("session", ""))
        if session is None:
            raise SettingsError("this page has lost its connection: wait until it is there again, or load it anew.")
        return session

    async def _socket(self, socket: WebSocket) -> None:
        await socket.accept()
        if not self._is_known(socket.query_params):
            await socket.close(4401, "the token of this address is not that of the server")
            return
        if len(self.sessions) >= _MOST_PAGES:
            await socket.close(4429, f"{_MOST_PAGES} pages are open already")
            return
        session = Session(Work(self.opened), socket.send_bytes)
        self.sessions[session.id] = session
        try:
            session.tell({"session": session.id, **self.opened.said()})
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                await session.answer(message.get("text") or message.get("bytes") or "")
        except (WebSocketDisconnect, RuntimeError):  # gone while something was sent to it
            pass
        finally:
            del self.sessions[session.id]
            await session.close()

    async def _table(self, request: Request) -> Response:
        """A file that was dropped on the page: kept in the session's folder and read by the product's own reader."""
        try:
            session = self._session(request)
            name = Path(unquote(request.query_params.get("name", "")).replace("\\", "/")).name
            if not name or len(name.encode()) > 200:
                raise SettingsError(
                    "the file needs a name of at most 200 bytes: its ending says what kind of table it is."
                )
            path, size = session.folder / name, 0
            with path.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > LARGEST_TABLE:
                        raise SettingsError(
                            f"the file is larger than {LARGEST_TABLE >> 20} MB: start with `fallline explore {name}` instead."
                        )
                    await to_thread.run_sync(file.write, part)
            said = await to_thread.run_sync(session.work.open, path)
        except FalllineError as problem:
            return JSONResponse({"error": str(problem)}, 400)
        return JSONResponse(said)

    async def _file(self, request: Request) -> Response:
        """The model, the report or a picture of a session's fit."""
        try:
            made = await to_thread.run_sync(self._session(request).work.file, request.path_params["name"])
        except FalllineError as problem:
            return JSONResponse({"error": str(problem)}, 400)
        attached = f"attachment; filename*=UTF-8''{made.quoted}"
        return Response(made.content, media_type=made.kind, headers={"Content-Disposition": attached})


class Server:
    """A running page: its address, and an end to it. Serves in the thread that calls ``run``, or beside it after ``begin``."""

    def __init__(self, opened: Opened, port: int = 0, token: str | None = None) -> None:
        self._explorer = Explorer(opened, token)
        self._listening = _listening(port)
        self.port: int = self._listening.getsockname()[1]
        hosts = frozenset(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost"))
        config = uvicorn.Config(
            self._explorer.app(hosts), log_config=None, access_log=False, ws="websockets-sansio", ws_max_size=LARGEST,
            ws_per_message_deflate=False, lifespan="off", proxy_headers=False,
            timeout_graceful_shutdown=1, server_header=False,
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of the page, its token in it."""
        return f"http://127.0.0.1:{self.port}/?token={quote(self._explorer.token, safe='')}"

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._explorer.sessions)

    def _warm_up(self) -> None:
        """What the first page is likely to ask for, once: its imports alone take a quarter of a second."""
        threading.Thread(target=two_weights.warm_up, name="fallline-warm", daemon=True).start()

    def run(self, when_ready: Callable[[], Any] | None = None) -> None:
        """Serve until Ctrl-C."""
        self._warm_up()
        if when_ready is not None:
            threading.Timer(0.3, when_ready).start()
        with contextlib.suppress(KeyboardInterrupt):
            self._uvicorn.run([self._listening])

    def begin(self) -> "Server":
        """Serve in a thread, and return as soon as the address answers: it listens already."""
        self._warm_up()
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([self._listening],), name="fallline-explore", daemon=True
        )
        self._thread.start()
        return self

    def end(self) -> None:
        """Stop serving; after ``begin``."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._listening.close()


def _listening(port: int) -> socket.socket:
    """A socket that listens on the loopback address. Raises SettingsError where the port is taken."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
    except OSError as problem:
        found.close()
        raise SettingsError(
            f"port {port} cannot be had ({problem.strerror}): choose another with --port, or leave it out."
        ) from None
    found.listen()
    return found
