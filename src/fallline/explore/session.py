"""One page at work: requests answered in their order, long ones beside them, and an end to all of it when the page is closed.

What is short is computed in a thread before the next request is read: a page that asks faster waits for its own answers, and no
other does. Long work runs in threads of the session's own; the newest of a kind takes the place of the one before.
"""

import asyncio
import contextlib
import functools
import logging
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.websockets import WebSocketDisconnect

from fallline.exceptions import FalllineError
from fallline.explore import local_minima, slope, two_weights, your_network
from fallline.explore.messages import Given, frame, numbered
from fallline.explore.work import Work
from fallline.threads import Task, Workers

Handler = Callable[[Given, Any], bytes]

SHORT: dict[str, Handler] = {
    "slope": slope.look,
    "two-weights": two_weights.look,
    "two-weights walk": two_weights.walk,
    "two-weights row": two_weights.one_row,
    "local-minima": local_minima.look,
    "local-minima walk": local_minima.walk,
    "network": your_network.look,
    "network columns": your_network.columns,
    "network what-if": your_network.what_if,
    "network stop": your_network.stop,
}
LONG: dict[str, Handler] = {
    "local-minima basins": local_minima.basins,
    "network surface": your_network.surface,
    "network minima": your_network.minima,
    "network importance": your_network.importance,
}
TRAIN = (
    "network train"  # beside the others: a fit brings threads of its own, and is ended by what hears of its progress
)
_MOST_ID = 1 << 53
_WRONG = "something went wrong on the server ({problem}); nothing of it is lost, try something else."


class Session:
    """What one page has: its table and fit (``work``), the jobs under way for it, and how answers reach it."""

    def __init__(self, work: Work, send: Callable[[bytes], Awaitable[None]]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.work = work
        self._send, self._loop = send, asyncio.get_running_loop()
        self._workers = Workers(2)
        self._jobs: dict[str, Task[bytes]] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """A folder of its own for what the page brings."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fallline-"))
        return self._folder

    def ground(self, given: Given, activation: str) -> two_weights.Ground:
        """A neuron on two columns of its table."""
        return self.work.ground(given, activation)

    async def answer(self, text: str | bytes) -> None:
        """Read one request, and answer it: at once, or when its work is done."""
        number, what = None, ""
        try:
            given = Given.read(text)
            number = given.whole("id", 0, _MOST_ID)
            what = given.choice("do", (*SHORT, *LONG, TRAIN))
            if what == TRAIN:
                self.work.begin()
                self._later(
                    number, asyncio.get_running_loop().run_in_executor(None, _told, your_network.train, given, self)
                )
                return
            if what in LONG:
                self._begin(number, what, given)
                return
            content = await to_thread.run_sync(_told, SHORT[what], given, self)
        except FalllineError as problem:
            content = frame({"error": _sentence(problem)})
        await self._reply(number, content)

    def tell(self, said: dict[str, Any], **arrays: Any) -> None:
        """From a thread: send news that answers no request."""
        content = frame(said, **arrays)
        with contextlib.suppress(RuntimeError):  # the server has ended
            asyncio.run_coroutine_threadsafe(self._news(content), self._loop)

    async def _news(self, content: bytes) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page has been closed
            await self._reply(None, content)

    def _begin(self, number: int, what: str, given: Given) -> None:
        if before := self._jobs.pop(what, None):
            before.drop()
        task = self._jobs[what] = self._workers.give(functools.partial(_told, LONG[what], given, self))
        assert task.future is not None
        self._later(number, asyncio.wrap_future(task.future))

    def _later(self, number: int, found: asyncio.Future[bytes | None]) -> None:
        """Answer when the work is done; work that others took the place of says so."""

        async def reply() -> None:
            content = await found
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page has been closed
                await self._reply(number, frame({"dropped": True}) if content is None else content)

        waiting = asyncio.create_task(reply())
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _reply(self, number: int | None, content: bytes) -> None:
        await self._send(numbered(number, content))

    async def close(self) -> None:
        """End what is under way, and leave nothing behind."""
        self.work.over = True
        for waiting in self._waiting:
            waiting.cancel()
        await to_thread.run_sync(self._workers.__exit__, None, None, None)
        if self._folder is not None:
            await to_thread.run_sync(shutil.rmtree, self._folder, True)


def _told(handler: Handler, given: Given, session: Session) -> bytes:
    """What a handler answers, or in a sentence why it cannot."""
    try:
        return handler(given, session)
    except FalllineError as problem:
        return frame({"error": _sentence(problem)})
    except Exception as problem:  # whatever it is: the page is told, and its server lives on
        logging.getLogger("fallline").exception("a request of the live page failed")
        return frame({"error": _WRONG.format(problem=f"{type(problem).__name__}: {problem}")})


def _sentence(problem: FalllineError) -> str:
    """What is wrong, in a line: a formula's complaint shows the place below it."""
    return str(problem).partition("\n")[0]
