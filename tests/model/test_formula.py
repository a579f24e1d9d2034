import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallline.exceptions import SettingsError
from fallline.model.formula import Formula, read_formula

# What Python makes of the same text, where it reads it the same way.
SAME = [
    "1 + 2*3 - 4/5",
    "2*(3 + 4)*5",
    "-2**2",
    "2**-1",
    "2**3**2",
    "-3 - -4",
    "10 - 4 - 3",
    "64/4/2",
    "2*-3",
    "+5",
    "1e-3 + .5 + 7. + 2E+2",
    "(2 + 3)**2",
    "2**0.5",
    "4**-1.5",
]


@pytest.mark.parametrize("text", SAME)
def test_precedence_and_grouping_are_those_of_python(text):
    assert read_formula(text)({}) == pytest.approx(eval(text), rel=1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp", math.exp), ("expm1", math.expm1), ("log", math.log), ("ln", math.log), ("log10", math.log10),
        ("log1p", math.log1p), ("sqrt", math.sqrt), ("sin", math.sin), ("cos", math.cos), ("tan", math.tan),
        ("arcsin", math.asin), ("asin", math.asin), ("arccos", math.acos), ("acos", math.acos),
        ("arctan", math.atan), ("atan", math.atan), ("sinh", math.sinh), ("cosh", math.cosh),
        ("tanh", math.tanh), ("abs", abs),
    ],
)  # fmt: skip
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_a_function_is_what_it_is_called(name, expected, xp, x64):
    assert float(read_formula(f"{name}(x)")({"x": xp.asarray(0.3)}, xp)) == pytest.approx(
        expected(0.3), rel=1e-14
    )


def test_pi_is_a_number_and_hats_are_powers():
    assert read_formula("2*pi*r^2")({"r": 3.0}) == pytest.approx(18 * math.pi)
    assert read_formula("2*pi*r^2").names == ("r",)


def test_whole_powers_of_negative_numbers_are_products():
    x = np.array([-2.0, 3.0])
    np.testing.assert_array_equal(read_formula("x^3 + x^-2 + x^0 + x^1")({"x": x}), x**3 + x**-2 + 1 + x)


def test_names_stand_in_order_of_appearance_and_may_be_quoted():
    formula = read_formula("b*x + a*`Berri 1` + b*µ_2")
    assert formula.names == ("b", "x", "a", "Berri 1", "µ_2")
    assert formula({"b": 2.0, "x": 3.0, "a": 5.0, "Berri 1": 7.0, "µ_2": 1.0}) == 43.0


def test_formulas_that_say_the_same_are_equal_and_hash_alike():
    one, other = read_formula("b1*( 1-exp(-b2 *x))"), read_formula("b1 * (1 - exp(-(b2*x)))")
    assert one != other  # −b·x is (−b)·x
    other = read_formula("(b1) * (1 - (exp(-b2*x)))")
    assert one == other
    assert hash(one) == hash(other)


TREES = st.recursive(
    st.one_of(
        st.floats(0, 1e6).map(lambda number: ("number", number)),
        st.sampled_from(["x", "b1", "two words", "exp", "pi"]).map(lambda name: ("name", name)),
    ),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "^"]), inner, inner),
        st.tuples(st.just("negative"), inner),
        st.tuples(st.just("call"), st.sampled_from(["exp", "log", "arctan"]), inner),
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_formula_written_out_reads_as_itself(tree):
    assert read_formula(str(Formula(tree))) == Formula(tree)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("b1*(1-exp(-b2*x)", 17, r"it ends here; expected an operator or \)"),
        ("2 x", 3, "a name; expected an operator such as"),
        ("b1 **", 6, "it ends here; expected a number, a name or a parenthesis"),
        ("a + foo(x)", 5, "'foo' is no function it knows; expected one of exp"),
        ("x + exp", 5, "'exp' is a function; expected exp"),
        ("a $ b", 3, r"'\$' has no meaning here"),
        ("a)", 2, r"a \) that closes nothing"),
        ("`ab + 2", 1, "a backtick that is not closed"),
        ("x.__class__", 2, r"'\.' has no meaning here"),
        ("__import__('os')", 1, "'__import__' is no function it knows"),
        ("a ** * b", 6, r"'\*'; expected a number"),
        ("(" * 200 + "x", 101, "nested too deep"),
        ("+".join("x" * 400), 601, "it is too long"),
    ],
)
def test_what_is_no_formula_is_refused_with_a_caret_under_the_place(text, at, message):
    with pytest.raises(SettingsError, match=message) as refused:
        read_formula(text)
    said, shown, caret = str(refused.value).split("\n")
    assert f"at character {at}:" in said
    assert shown == f"    {text}"
    assert caret.index("^") - 4 == at - 1


@pytest.mark.parametrize("nothing", ["", "  ", None, 3])
def test_nothing_is_no_formula(nothing):
    with pytest.raises(SettingsError, match="is no formula: write one such as"):
        read_formula(nothing)
