import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fallline.descent.gradient import GradientDescent
from fallline.kernel import Compiled, make_room
from fallline.model.network import ACTIVATIONS, Network
from fallline.rows.memory import InMemory
from fallline.walk.chunk import chunk
from fallline.walk.loop import descend


def halve(x, *, times):
    return jax.lax.fori_loop(0, times, lambda _, x: 0.5 * x, x)


@pytest.mark.parametrize("small", [False, True])
def test_both_programs_do_the_same(small):
    found = Compiled(halve, static=("times",))(jnp.ones(3), times=3, small=small)
    np.testing.assert_array_equal(found, [0.125] * 3)


def test_a_small_loop_is_one_kernel_called_from_outside():
    compiled = Compiled(halve, static=("times",))
    x = jnp.ones(4096)  # so large that XLA would not do so by itself
    kernel, ordinary = (
        each.lower(x, times=40).compile().as_text().split("ENTRY")[1]
        for each in (compiled._kernel, compiled._ordinary)
    )
    assert "xla_cpu_small_call" in kernel
    assert " while(" not in kernel
    assert " while(" in ordinary


def test_an_option_that_a_version_does_not_know_costs_speed_alone(monkeypatch):
    monkeypatch.setattr("fallline.kernel._OPTIONS", {"xla_no_such_option": True})
    compiled = Compiled(halve, static=("times",))
    np.testing.assert_array_equal(compiled(jnp.ones(3), times=2, small=True), [0.25] * 3)
    assert compiled._refused


def test_what_has_no_place_in_a_kernel_is_run_as_usual():
    def solve(matrix):
        return jnp.linalg.cholesky(matrix)

    compiled = Compiled(solve, static=())
    np.testing.assert_allclose(compiled(4.0 * jnp.eye(3), small=True), 2.0 * np.eye(3))


def test_a_version_in_which_it_was_not_tried_gets_the_ordinary_program(monkeypatch):
    monkeypatch.setattr("fallline.kernel._TRIED", ("no version",))
    compiled = Compiled(halve, static=("times",))
    monkeypatch.setattr(compiled, "_kernel", None)
    np.testing.assert_array_equal(compiled(jnp.ones(3), times=2, small=True), [0.25] * 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "descent",
    [GradientDescent(0.01), GradientDescent(0.01, 0.9, True), GradientDescent(momentum="auto")],
    ids=["plain", "Nesterov", "automatic"],
)
def test_a_descent_as_one_kernel_walks_as_it_does_without(activation, descent, random, monkeypatch):
    x, y = random.normal(size=(30, 2)), random.normal(size=(30, 2))
    rows, held_out = InMemory(x[:20], y[:20], random.uniform(0.5, 2, 20)), InMemory(x[20:], y[20:])
    network = Network((2, 3, 2), activation, "logistic")
    how = {
        "seed": 0,
        "max_iter": 30,
        "alpha": 0.1,
        "watched": {"validation": held_out},
        "judge": "validation",
    }
    one = descend(network, rows, descent, **how)
    monkeypatch.setattr("fallline.kernel._TRIED", ("no version",))
    other = descend(network, rows, descent, **how)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(one.watched["validation"], other.watched["validation"], rtol=1e-8)
    assert one.stop == other.stop
    assert not chunk._refused  # the kernel was taken


@pytest.mark.parametrize(
    ("most", "forgotten"), [("1000\n", True), ("100000000\n", False), ("unlimited", False)]
)
def test_programs_are_forgotten_where_they_take_half_of_the_memory_maps(
    most, forgotten, tmp_path, monkeypatch
):
    maps, limit, cleared = tmp_path / "maps", tmp_path / "limit", []
    maps.write_text("a map\n" * 501)
    limit.write_text(most)
    monkeypatch.setattr("fallline.kernel._MAPS", maps)
    monkeypatch.setattr("fallline.kernel._MOST_MAPS", limit)
    monkeypatch.setattr("jax.clear_caches", lambda: cleared.append(True))
    make_room()
    assert bool(cleared) == forgotten


def test_where_a_system_says_nothing_of_memory_maps_nothing_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("fallline.kernel._MAPS", tmp_path / "nowhere")
    monkeypatch.setattr("jax.clear_caches", lambda: pytest.fail("programs were forgotten"))
    make_room()
