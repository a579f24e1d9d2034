import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fallline.model.formula as formula_module
from fallline.exceptions import SettingsError
from fallline.model.formula import Formula, Unknown, formula_of, read_formula

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


FUNCTIONS = pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp", math.exp), ("expm1", math.expm1), ("log", math.log), ("ln", math.log), ("log10", math.log10),
        ("log1p", math.log1p), ("sqrt", math.sqrt), ("sin", math.sin), ("cos", math.cos), ("tan", math.tan),
        ("arcsin", math.asin), ("asin", math.asin), ("arccos", math.acos), ("acos", math.acos),
        ("arctan", math.atan), ("atan", math.atan), ("sinh", math.sinh), ("cosh", math.cosh),
        ("tanh", math.tanh), ("abs", abs),
    ],
)  # fmt: skip


@FUNCTIONS
def test_a_function_is_what_it_is_called(name, expected):
    assert read_formula(f"{name}(x)")({"x": np.asarray(0.3)}) == pytest.approx(expected(0.3), rel=1e-14)


def test_pi_is_a_number_and_hats_are_powers():
    assert read_formula("2*pi*r^2")({"r": 3.0}) == pytest.approx(18 * math.pi)
    assert read_formula("2*pi*r^2").names == ("r",)


def test_whole_powers_of_negative_numbers_are_products():
    x = np.array([-2.0, 3.0])
    np.testing.assert_array_equal(read_formula("x^3 + x^-2 + x^0 + x^1")({"x": x}), x**3 + x**-2 + 1 + x)


def derivatives_by_jax(text, names, values, direction):
    """∂f/∂names and their change along the direction, of a text that Python reads as the grammar does."""
    known = {name: getattr(jnp, name) for name in dir(jnp)} | {"ln": jnp.log} | values

    def f(*args):
        return eval(text.replace("^", "**"), known | dict(zip(names, args, strict=True)))

    slopes = jax.jacfwd(f, argnums=tuple(range(len(names))))
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(values[name]) for name in names)
        return jax.jvp(lambda *args: jnp.stack(slopes(*args)), given, tuple(map(jnp.asarray, direction)))


@FUNCTIONS
def test_a_function_has_the_derivatives_of_jax(name, expected):
    text = f"{name}(a*x + b^2)"
    values = {"a": 1.1, "b": 0.7, "x": np.array([0.3, -0.2, 0.05])}
    slopes, along = derivatives_by_jax(text, ("a", "b"), values, (0.4, -1.3))
    formula = read_formula(text)
    found = formula.slopes(values, ("a", "b"))
    change = [0 * values["x"] + each for each in formula.slopes_along(values, ("a", "b"), (0.4, -1.3))]
    np.testing.assert_allclose(found, slopes, rtol=1e-14)
    np.testing.assert_allclose(change, along, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "a*exp(-b*x) + c",
        "(a*x - b)/(c + x^2)/2 - -a",
        "a/(1 + exp(b - c*x))^(1/b)",
        "a^b*c^x",
        "(x - a)^3 + (a - x)^-2*(b*x)^c",
        "a^0 + b^1 + c^-1 + 2^a",
        "sqrt(a*a + b)*log(c)/tanh(a*b*c)",
        "abs(a - x)*abs(x - a)*sin(b)",
        "pi*2^0.5/3 + 0*a + 1*b",
        "a*(x + b)^c*exp(-(x + b)^c)",
    ],
)
def test_formulas_have_the_derivatives_of_jax(text):
    values = {"a": 1.3, "b": 0.7, "c": 2.4, "x": 1.9}
    slopes, along = derivatives_by_jax(text, ("a", "b", "c"), values | {"pi": math.pi}, (0.4, -1.3, 0.2))
    formula = read_formula(text)
    np.testing.assert_allclose(formula.slopes(values, ("a", "b", "c")), slopes, rtol=1e-13)
    np.testing.assert_allclose(formula.slopes_along(values, ("a", "b", "c"), (0.4, -1.3, 0.2)), along, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "slopes", "along"),
    [
        ("a^0", 0.0, 0.0),
        ("a^1", 1.0, 0.0),
        ("a^2", 0.0, 2.0),
        ("a^3", 0.0, 0.0),
        ("a^2.5", 0.0, 0.0),
        ("a^(b - 2)", 0.0, 2.0),  # b = 4
        ("a^(b - 3)", 1.0, 0.0),
        ("a^(b - 4)", 0.0, 0.0),
        ("sqrt(a)", np.inf, -np.inf),
        ("a*x^b", 0.0, 0.0),  # x = 0
        ("a*exp(-b*x)", 1.0, 0.0),
        ("abs(a)", 1.0, 0.0),  # a kink: to one side, so that a descent leaves it
        ("exp(a*710)*x", 0.0, 0.0),
    ],
)
def test_at_zero_slopes_are_their_limits(text, slopes, along):
    values = {"a": 0.0, "b": 4.0, "x": 0.0}
    with np.errstate(all="ignore"):
        assert read_formula(text).slopes(values, ("a",)) == [slopes]
        assert read_formula(text).slopes_along(values, ("a",), (1.0,)) == [along]


def test_slopes_of_a_power_of_zero_along_its_exponent_are_zero():
    x = np.array([0.0, 2.0])
    slopes = read_formula("x^n").slopes({"x": x, "n": 1.5}, ("n",))[0]
    np.testing.assert_allclose(slopes, [0.0, 2**1.5 * math.log(2)])


def test_whole_powers_of_negative_numbers_have_slopes():
    values = {"a": -2.0, "x": np.array([-3.0, 5.0])}
    formula = read_formula("(a*x)^3 + (a*x)^-2")
    np.testing.assert_allclose(
        formula.slopes(values, ("a",))[0], 3 * values["x"] ** 3 * 4 - 2 / (-8 * values["x"] ** 2)
    )


def test_what_appears_twice_is_done_once_and_what_nobody_asks_for_not_at_all(monkeypatch):
    done = []
    monkeypatch.setitem(formula_module._APPLIED, "exp", lambda u: done.append(u) or np.exp(u))
    twice, values = read_formula("exp(a*x)/(1 + exp(a*x)) + b"), {"a": 1.0, "b": 2.0, "x": 3.0}
    twice.slopes_along(values, ("a",), (1.0,))
    assert done == [3.0]
    assert twice.slopes(values, ("b",)) == [1.0]
    assert done == [3.0]


def test_the_longest_formulas_have_derivatives():
    product = read_formula("*".join("a" * 300))
    assert product.slopes({"a": 1.0}, ("a",)) == [300.0]
    assert product.slopes_along({"a": 1.0}, ("a",), (1.0,)) == [300.0 * 299.0]


def test_what_is_done_to_a_number_not_known_yet_makes_a_formula():
    x, a = Unknown(("name", "x")), Unknown(("name", "a"))
    made = formula_of(-np.float64(2) * np.exp(a * x) ** 2 / (1 - abs(x)) + np.abs(a))
    assert str(made) == "-2*exp(a*x)^2/(1 - abs(x)) + abs(a)"
    values = {"x": np.array([0.3, -0.2]), "a": 0.7}
    expected = -2 * np.exp(0.7 * values["x"]) ** 2 / (1 - abs(values["x"])) + 0.7
    np.testing.assert_allclose(made(values), expected, rtol=1e-15)


@pytest.mark.parametrize(
    "use",
    [lambda x: x > 0, bool, float, np.isnan, lambda x: np.add(x, 1, where=True), lambda x: x * np.ones(2), lambda x: x * "a"],
)  # fmt: skip
def test_what_makes_no_formula_of_it_is_refused(use):
    with pytest.raises(TypeError):
        use(Unknown(("name", "x")))
    with pytest.raises(TypeError, match="is no number"):
        formula_of("a")


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
