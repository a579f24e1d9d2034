"""What every descent promises the loop: settings, and a small state that is all the memory there is."""

import numpy as np
import optax
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import penalty_for
from fallline.descent.rprop import VARIANTS, Rprop
from fallline.descent.transformation import Transformation
from fallline.model.network import Network
from fallline.rows.memory import InMemory

NETWORK = Network((2, 4, 1))
DESCENTS = {
    "plain": (GradientDescent(0.1), 0.1),
    "heavy ball": (GradientDescent(0.1, 0.9), 0.1),
    "Nesterov": (GradientDescent(0.1, 0.9, nesterov=True), 0.1),
    "automatic rate": (GradientDescent(), 0.1),
    "automatic momentum": (GradientDescent(momentum="auto"), 0.1),
    "Adam": (Adam(batch_size=None, decay="none"), 0.1),
    **{variant: (Rprop(variant), 0.1) for variant in VARIANTS},
    "L-BFGS": (LBFGS(history=5), 0.1),
    "Levenberg-Marquardt": (LevenbergMarquardt(), 0.1),
    "Levenberg-Marquardt, evidence": (LevenbergMarquardt(), "evidence"),
    "Levenberg-Marquardt for curves": (LevenbergMarquardt.for_curves(), 0.1),
    "within bounds": (LevenbergMarquardt(lower=(-1.0,) * 17, upper=(2.0,) * 17), 0.1),
    "an Optax transformation": (Transformation(optax.adam(0.05)), 0.1),
}
EACH = pytest.mark.parametrize(("descent", "alpha"), DESCENTS.values(), ids=DESCENTS)


@pytest.fixture
def rows(random):
    x = random.normal(size=(50, 2))
    return InMemory(x, np.sin(2 * x[:, :1]) + x[:, 1:] + 0.1 * random.normal(size=(50, 1)))


def begun(descent, alpha, rows):
    return descent.start(NETWORK.initial(3), penalty_for(NETWORK, alpha, rows.count))


def further(descent, state, rows, passes):
    """The states after each of so many passes more, while the descent goes on."""
    states = [state]
    while len(states) <= passes and states[-1].walk.stop == Stop.GOING_ON:
        sums = rows.total(descent.ask(states[-1]), NETWORK)
        states.append(descent.tell(states[-1], sums))
    return states


def leaves(state):
    """What a state is made of, tuples taken apart."""
    return [leaf for each in state for leaf in leaves(each)] if isinstance(state, tuple) else [state]


def copied(state):
    """The state again, from numbers read back and arrays made anew."""
    if isinstance(state, tuple):
        parts = [copied(each) for each in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return np.array(state) if hasattr(state, "__array__") else state


@EACH
def test_a_state_is_made_of_arrays_and_numbers_alone(descent, alpha, rows):
    states = further(descent, begun(descent, alpha, rows), rows, 30)
    kinds = {type(leaf) for state in states for leaf in leaves(state) if not hasattr(leaf, "__array__")}
    assert kinds <= {bool, int, float, str, Stop, type(None)}
    assert len(states) > 10


@EACH
def test_a_walk_goes_on_from_a_copy_of_its_state_to_the_same_bits(descent, alpha, rows):
    whole = further(descent, begun(descent, alpha, rows), rows, 40)
    again = further(descent, copied(whole[len(whole) // 2]), rows, 40 - len(whole) // 2)
    one, other = leaves(whole[-1]), leaves(again[-1])
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@EACH
def test_tell_leaves_the_state_before_as_it_was(descent, alpha, rows):
    states = further(descent, begun(descent, alpha, rows), rows, 20)
    kept = copied(states[8])
    further(descent, states[8], rows, 12)
    for a, b in zip(leaves(states[8]), leaves(kept), strict=True):
        np.testing.assert_array_equal(a, b)


@EACH
def test_a_pass_is_one_request_and_one_tell(descent, alpha, rows):
    states = further(descent, begun(descent, alpha, rows), rows, 30)
    assert [state.walk.passes for state in states] == list(range(len(states)))
    arrivals = [state.walk.steps for state in states if state.walk.moved]
    assert arrivals == list(range(len(arrivals)))  # the start, and every step after it


@EACH
def test_settings_are_read_and_written_as_scikit_learn_does(descent, alpha, rows):
    assert type(descent)(**descent.get_params()) == descent
