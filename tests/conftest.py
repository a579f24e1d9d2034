import functools
import math
import shutil
import unittest
from collections.abc import Callable
from typing import Any, NamedTuple

import array_api_compat
import array_api_strict
import numpy as np
import pytest

CHROMIUM = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
CHROMIUM += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A real browser, one for all tests of a process: Playwright bears no second one beside it."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail(
            "the report and the live page are tested in a browser, and there is no chromium on the PATH: "
            "apt-get update && apt-get install -y chromium"
        )
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            headless=True,
            chromium_sandbox=False,
            args=CHROMIUM,
            accept_downloads=True,
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def two_workers():
    """A Dask cluster of two processes on this machine, one for all tests of a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def cluster(two_workers):
    """The client of that cluster, at hand."""
    with two_workers.as_current():
        yield two_workers


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def passes():
    """Whether a check of scikit-learn passes. One may be skipped, by its own word: array API support is not claimed."""

    def run(check, estimator):
        try:
            check(estimator)
        except unittest.SkipTest:
            return getattr(check, "func", check).__name__ == "check_array_api_input"
        return True

    return run


@pytest.fixture
def until_it_ends(monkeypatch, random):
    """Make a call in which a walk is stopped, as by Ctrl-C, each time after more steps or batches; its result, how often it was.

    ``step`` is how many more. Steps and batches are made one by one, or nearly, so that there are many places to stop at.
    """
    from fallline.walk import epochs, loop

    monkeypatch.setattr(loop, "_FIRST_STRIDE", 3)
    monkeypatch.setattr(loop, "_SECONDS_OF_STRIDE", 0.0)
    monkeypatch.setattr(epochs, "_SECONDS_OF_CALL", 0.0)
    left, before = [math.inf], loop.stopping

    def stopping():
        left[0] -= 1
        return left[0] == 0 or before()

    monkeypatch.setattr(loop, "stopping", stopping)
    monkeypatch.setattr(epochs, "stopping", stopping)

    def run(call, step=1):
        for often in range(100):
            left[0] = int(random.integers(1, 10 + step * often**2))
            try:
                found = call()
            except KeyboardInterrupt:
                continue
            if left[0] > 0:
                left[0] = math.inf
                return found, often
        raise AssertionError("it does not end")

    return run


class Device(NamedTuple):
    """Where NumPy cannot read: ``put`` takes an array there, ``home`` back; ``brought``: sizes of what fallline brought."""

    put: Callable[[Any], Any]
    home: Callable[[Any], np.ndarray]
    brought: list[int]


def _strict() -> Any:
    """The strictest library there is: what is not in the standard raises, and so does NumPy where it reads from its device."""
    here = array_api_strict.Device("CPU_DEVICE")
    put = functools.partial(array_api_strict.asarray, device=array_api_strict.Device("device1"))
    return put, lambda array: np.asarray(array.to_device(here))


def _cupy() -> Any:
    import cupy

    return cupy.asarray, cupy.asnumpy


def _torch() -> Any:
    import torch

    return lambda array: torch.asarray(np.array(array), device="cuda"), lambda array: array.cpu().numpy()


LIBRARIES = {"array-api-strict": _strict, "CuPy": _cupy, "PyTorch": _torch}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", choices=LIBRARIES, default="array-api-strict", help="whose arrays on a device the tests take"
    )


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    put, home = LIBRARIES[request.config.getoption("--device")]()
    brought: list[int] = []
    bring = array_api_compat.to_device

    def noted(array: Any, where: Any) -> Any:
        brought.append(math.prod(array.shape))
        return bring(array, where)

    monkeypatch.setattr(array_api_compat, "to_device", noted)
    return Device(put, home, brought)
