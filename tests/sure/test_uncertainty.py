import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from fallline import InMemory, LevenbergMarquardt, Network, descend
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.rows import memory
from fallline.sure import uncertainty
from fallline.sure.uncertainty import uncertainty_of

PLANE, PLANES = Network((3, 1)), Network((3, 2))


def table(random, n=30, outputs=1):
    x = random.normal(size=(n, 3)) * [1.0, 20.0, 0.1] + [5.0, 0.0, 1.0]
    y = x @ random.normal(size=(3, outputs)) + 2.0 + 0.3 * random.normal(size=(n, outputs))
    return x, y


def design(x):
    """Inputs and a column of ones: J of a linear network with one output."""
    return np.column_stack([x, np.ones(len(x))])


def solved(x, y, strength=0.0, s=None):
    """(inputs + 1, outputs): the minimum of ½ Σ s r² + ½ strength Σ coef², biases free, by QR."""
    root = np.sqrt(np.ones(len(x)) if s is None else s)[:, None]
    decay = np.sqrt(strength) * np.eye(x.shape[1] + 1)[:-1]
    q, r = np.linalg.qr(np.vstack([root * design(x), decay]))
    return np.linalg.solve(r, q.T @ np.vstack([root * y, np.zeros((len(decay), y.shape[1]))]))


def found(model, x, y, strength=0.0, s=None, **settings):
    weights = solved(x, y, strength, s).ravel()
    return uncertainty_of(model, weights, InMemory(x, y, s), strength=strength, **settings)


def test_of_a_linear_network_it_is_the_covariance_of_the_textbook(random):
    x, y = table(random)
    got = found(PLANE, x, y, noise="residuals")
    r = np.linalg.qr(design(x), mode="r")
    residual = design(x) @ solved(x, y) - y
    variance = (residual**2).sum() / (30 - 4)
    inverse = np.linalg.inv(r)
    np.testing.assert_allclose(got.noise_variance, [variance], rtol=1e-10)
    np.testing.assert_allclose(got.covariance, variance * inverse @ inverse.T, rtol=1e-7)
    np.testing.assert_allclose(got.weight_errors, np.sqrt(variance * (inverse**2).sum(axis=1)), rtol=1e-8)
    np.testing.assert_allclose([got.freedom, got.effective_weights, got.rank], [26.0, 4.0, 4.0])
    np.testing.assert_allclose(got.residuals, residual, atol=1e-12)
    assert got.says() == "The data determine all 4 weights."


def test_its_intervals_are_those_of_the_textbook(random):
    x, y = table(random)
    got = found(PLANE, x, y, noise="residuals")
    new = random.normal(size=(5, 3)) * 10.0
    mean = design(new) @ solved(x, y)
    leverage = (np.linalg.solve(np.linalg.qr(design(x), mode="r").T, design(new).T) ** 2).sum(axis=0)[:, None]
    reach = stats.t.ppf(0.95, 26) * np.sqrt(got.noise_variance)
    low, high = got.confidence_interval(new, 0.9)
    np.testing.assert_allclose([low, high], mean + reach * np.sqrt(leverage) * [[[-1]], [[1]]], rtol=1e-8)
    low, high = got.prediction_interval(new, 0.9)
    np.testing.assert_allclose([low, high], mean + reach * np.sqrt(1 + leverage) * [[[-1]], [[1]]], rtol=1e-8)


@pytest.mark.parametrize("strength", [0.0, 3.0], ids=["free", "weight decay"])
@pytest.mark.parametrize(("model", "outputs"), [(PLANE, 1), (PLANES, 2)], ids=["one output", "two outputs"])
def test_leave_one_out_residuals_are_those_of_fits_without_the_row(model, outputs, strength, random):
    x, y = table(random, 12, outputs)
    kept = [np.arange(12) != i for i in range(12)]
    expected = [design(x[[i]]) @ solved(x[k], y[k], strength) - y[[i]] for i, k in enumerate(kept)]
    got = found(model, x, y, strength)
    np.testing.assert_allclose(got.leave_one_out, np.concatenate(expected), rtol=1e-7)
    np.testing.assert_allclose(got.press, (np.concatenate(expected) ** 2).sum(axis=0), rtol=1e-7)
    # 1/(1 − h) of a row is 1 + jᵀA⁻¹j where the fit has not seen it: what its interval allows for.
    leverage = np.diagonal(design(x) @ solved(x, np.eye(12), strength))
    np.testing.assert_allclose(got.leverage, np.tile(leverage[:, None], outputs), rtol=1e-8)
    variance = got.press / np.sum(1 / (1 - leverage))
    np.testing.assert_allclose(got.noise_variance, variance, rtol=1e-7)


@pytest.mark.parametrize("noise", ["leave-one-out", "residuals"])
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_row_weights_are_repetitions(strength, noise, random):
    x, y = table(random)
    s = np.tile([1.0, 3.0, 0.0], 10)
    weighted = found(PLANE, x, y, strength, s, noise=noise)
    repeated = found(PLANE, np.repeat(x, s.astype(int), 0), np.repeat(y, s.astype(int), 0), strength, noise=noise)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-7)
    np.testing.assert_allclose(weighted.freedom, repeated.freedom)
    np.testing.assert_allclose(weighted.leave_one_out[1], repeated.leave_one_out[1], rtol=1e-7)
    np.testing.assert_allclose(weighted.press, repeated.press, rtol=1e-9)


def test_under_a_weight_decay_weights_are_determined_by_the_rows_in_part(random):
    x, y = table(random)
    got = found(PLANE, x, y, 5.0)
    gram, decay = design(x).T @ design(x), np.diag([5.0, 5.0, 5.0, 0.0])
    inverse = np.linalg.inv(gram + decay)
    np.testing.assert_allclose(got.effective_weights, np.trace(inverse @ gram), rtol=1e-9)
    np.testing.assert_allclose(got.covariance, got.noise_variance * inverse, rtol=1e-7)
    np.testing.assert_allclose(got.freedom, 30 - got.effective_weights)
    alone = uncertainty_of(PLANE, got.weights, InMemory(x, y), strength=np.array([5.0, 5.0, 5.0, 0.0]))
    np.testing.assert_array_equal(alone.covariance, got.covariance)


def test_of_a_nonlinear_network_it_is_the_covariance_of_curve_fit():
    random = np.random.default_rng(3)
    x = np.linspace(-3, 3, 60)[:, None]
    y = np.tanh(1.5 * x - 0.5) + 0.05 * random.normal(size=(60, 1))
    model = Network((1, 1, 1))
    path = descend(model, InMemory(x, y), LevenbergMarquardt(), weights=[1.0, 0.0, 1.0, 0.0], tol=0, max_iter=60)

    def curve(x, *weights):
        return model.predict(np.array(weights), x[:, None])[:, 0]

    found_by_scipy, covariance = curve_fit(curve, x[:, 0], y[:, 0], p0=path.best_weights, xtol=1e-14, ftol=1e-14)
    got = uncertainty_of(model, path.best_weights, InMemory(x, y), noise="residuals")
    np.testing.assert_allclose(path.best_weights, found_by_scipy, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-3)
    # The straight line through the weights says nearly what a new fit without the row does.
    kept = np.arange(60) != 30
    without = curve_fit(curve, x[kept, 0], y[kept, 0], p0=path.best_weights)[0]
    np.testing.assert_allclose(got.leave_one_out[30], curve(x[[30], 0], *without) - y[30], rtol=2e-2)


def test_each_output_has_its_own_noise(random):
    x, y = table(random, 400, 2)
    y = y * [1.0, 100.0]
    both, second = found(PLANES, x, y, noise="residuals"), found(PLANE, x, y[:, 1:], noise="residuals")
    np.testing.assert_allclose(both.noise_variance[1], second.noise_variance[0], rtol=1e-8)
    np.testing.assert_allclose(both.new_row_error(x[:3])[:, 1:], second.new_row_error(x[:3]), rtol=1e-8)
    np.testing.assert_allclose(both.freedom, second.freedom)


def test_what_the_rows_leave_undetermined_is_named_and_has_no_finite_error(random):
    x, y = table(random)
    x[:, 2] = 2.0 * x[:, 0]
    small = found(Network((2, 1)), x[:, :2], y)
    least = np.linalg.pinv(design(x)) @ y
    got = uncertainty_of(PLANE, least.ravel(), InMemory(x, y))
    assert (got.rank, got.inverse.undetermined.shape) == (3, (4, 1))
    np.testing.assert_allclose(design(x) @ got.inverse.undetermined, 0.0, atol=1e-7)
    np.testing.assert_allclose(got.noise_variance, small.noise_variance, rtol=1e-7)
    on = np.array([[1.0, 7.0, 2.0]])
    np.testing.assert_allclose(got.mean_error(on), small.mean_error(on[:, :2]), rtol=1e-6)
    assert np.isinf(got.mean_error(np.array([[1.0, 7.0, 2.5]]))).all()
    assert np.isinf(got.weight_errors).tolist() == [True, False, True, False]
    said = "The data leave 1 combination of weights undetermined: "
    assert got.says(["a", "b", "c", "1"]) in (f"{said}0.89 a, −0.45 c.", f"{said}−0.89 a, 0.45 c.")  # ±(2 a − c)


def test_a_penalty_determines_what_the_rows_do_not(random):
    x, y = table(random)
    x[:, 2] = 2.0 * x[:, 0]
    got = found(PLANE, x, y, 0.1)
    assert got.rank == 4
    assert np.isfinite(got.mean_error(np.array([[1.0, 7.0, 2.5]]))).all()


def test_units_that_are_dead_on_the_rows_cause_no_error(random):
    model = Network((1, 3, 1), "relu")
    weights = model.initial(0)
    weights[3:6] = [-100.0, -100.0, 0.5]
    x = random.normal(size=(20, 1))
    y = model.predict(weights, x) + 0.1 * random.normal(size=(20, 1))
    got = uncertainty_of(model, weights, InMemory(x, y))
    assert got.rank < model.n_weights
    assert np.isfinite(got.mean_error(x)).all()


def test_a_row_that_is_fitted_for_itself_judges_nothing(random):
    x, y = table(random, 20)
    x[:, 0] = 0.0
    x[0, 0] = 1.0
    got, without = found(PLANE, x, y), found(Network((2, 1)), x[1:, 1:], y[1:])
    assert np.isnan(got.leave_one_out[0]).all()
    np.testing.assert_allclose(got.leverage[0], 1.0)
    np.testing.assert_allclose(got.noise_variance, without.noise_variance, rtol=1e-8)


@pytest.mark.parametrize("outputs", [1, 2])
def test_it_is_the_same_in_blocks_of_any_size(outputs, random, monkeypatch):
    x, y = table(random, 100, outputs)
    s = random.uniform(0.5, 3.0, 100)
    model = Network((3, 2, outputs))
    given = (model, model.initial(0), InMemory(x / 10, y, s))
    whole = uncertainty_of(*given, strength=0.3)
    for module, name in ((memory, "LARGEST_BLOCK"), (memory, "_SMALLEST"), (uncertainty, "_BLOCK_BYTES")):
        monkeypatch.setattr(module, name, 16)
    parts = uncertainty_of(*given, strength=0.3)
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-7)
    np.testing.assert_allclose(parts.leave_one_out, whole.leave_one_out, rtol=1e-9)
    np.testing.assert_allclose(parts.new_row_error(x), whole.new_row_error(x), rtol=1e-9)


def test_the_variance_of_the_noise_can_be_given(random):
    x, y = table(random)
    got = found(PLANE, x, y, noise=0.25)
    assert got.quantile(0.95) == pytest.approx(stats.norm.ppf(0.975))
    np.testing.assert_allclose(got.new_row_error(x) ** 2 - got.mean_error(x) ** 2, 0.25)


@pytest.mark.parametrize("noise", ["leave-one-out", "residuals"])
def test_rows_that_leave_nothing_to_see_the_noise_by_are_refused(noise, random):
    x, y = table(random, 4)
    with pytest.raises(TableError, match=r"4 rows determine 4 weights .* give more rows"):
        found(PLANE, x, y, noise=noise)


def test_wrong_shapes_and_settings_are_refused(random):
    x, y = table(random)
    rows, weights = InMemory(x, y), np.zeros(4)
    with pytest.raises(ShapeError, match=r"weights have shape \(3,\); expected \(4,\)"):
        uncertainty_of(PLANE, weights[:3], rows)
    with pytest.raises(ShapeError, match=r"strength has shape \(2,\)"):
        uncertainty_of(PLANE, weights, rows, strength=np.ones(2))
    with pytest.raises(SettingsError, match="finite and not negative"):
        uncertainty_of(PLANE, weights, rows, strength=-1.0)
    with pytest.raises(SettingsError, match="give 'leave-one-out', 'residuals', or the variance"):
        uncertainty_of(PLANE, weights, rows, noise="press")
    with pytest.raises(SettingsError, match="a variance is a number from 0 up"):
        uncertainty_of(PLANE, weights, rows, noise=-1.0)
    with pytest.raises(ShapeError, match=r"for a single input, pass x\[:, None\]"):
        uncertainty_of(PLANE, weights, rows).mean_error(np.zeros(3))
    with pytest.raises(SettingsError, match="give a share between 0 and 1"):
        uncertainty_of(PLANE, weights, rows).quantile(95)


@pytest.mark.parametrize("strength", [0.0, 3.0], ids=["free", "decay"])
@pytest.mark.parametrize("size", [1 << 30, 1], ids=["one block", "many"])
def test_the_triangle_says_what_the_square_says(size, strength, random, monkeypatch):
    monkeypatch.setattr(memory, "_BLOCK_BYTES", size)
    monkeypatch.setattr(memory, "_SMALLEST", 7)
    x, y = table(random, outputs=2)
    by_square, by_triangle = (found(PLANES, x, y, strength, factor=factor) for factor in ("square", "qr"))
    np.testing.assert_allclose(by_triangle.covariance, by_square.covariance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(by_triangle.leave_one_out, by_square.leave_one_out, rtol=1e-8)
    assert by_triangle.effective_weights == pytest.approx(by_square.effective_weights, rel=1e-9)


def test_nearly_collinear_columns_are_known_by_the_triangle_and_lost_by_the_square(random):
    x = random.normal(size=(40, 3))
    x[:, 1] = x[:, 0] + 1e-9 * x[:, 1]
    rows = InMemory(x, random.normal(size=(40, 1)))
    weights = np.zeros(4)
    by_square, by_triangle = (uncertainty_of(PLANE, weights, rows, noise=1.0, factor=each) for each in ("square", "qr"))
    assert (by_square.rank, by_triangle.rank) == (3, 4)
    r = np.linalg.qr(design(x), mode="r")
    expected = np.linalg.norm(np.linalg.inv(r), axis=1)
    np.testing.assert_allclose(by_triangle.weight_errors, expected, rtol=1e-5)
