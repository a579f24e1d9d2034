"""The scikit-learn face: estimators that validate, call the core and store what it found.

Nothing is computed here. What a fit needs stands in ``fit.py``, with its own tests.
"""

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted, validate_data

from fallline import fit as core
from fallline.columns import Columns
from fallline.descent import Stop
from fallline.descent.transformation import is_transformation
from fallline.exceptions import DescentWarning, ShapeError, TableError
from fallline.landscape.verdict import Verdict, verdict_of
from fallline.loop import Progress
from fallline.path import DescentPath
from fallline.rows.memory import InMemory
from fallline.table import Table, table_from_frame


class NetworkRegressor(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A neural network fitted by least squares.

    Goes down F = ½ Σ_μ s_μ Σ_j (y_j − ŷ_j)² + ½ · alpha · Σ coef², by Levenberg–Marquardt where the network is
    small, by L-BFGS where it is not. Inputs and targets are standardised inside; ``coefs_`` and predictions are in
    the user's units.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(20,)
        Units in each hidden layer; ``()`` for none: ŷ_j = f(Σ_i w_ij x_i + b_j).
    activation : str, default="tanh"
        f of the hidden layers: identity, logistic, tanh, relu, leaky_relu, softplus, softsign, elu, silu, sine, gaussian.
    descent : "auto", "levenberg-marquardt", "l-bfgs", "gauss-newton", "rprop", "gradient", "mini-batch" or a descent
        How the weights move. A descent has settings of its own: ``GradientDescent(learning_rate=0.1)``, tuned as
        ``descent__learning_rate``. An Optax transformation, such as ``optax.adam(1e-3)``, is one too.
    alpha : "auto" or float, default="auto"
        Weight decay, in standardised units; scikit-learn's ``alpha``: both terms of its objective are divided by n.
        ``"auto"`` chooses it on fifths of the rows held back in turn, where Levenberg–Marquardt descends without early
        stopping, and takes 0.1 elsewhere; ``"evidence"`` finds one for each layer on the way (Bayesian regularisation).
    max_iter : int, default=1000
        The most steps; epochs, where the descent has a ``batch_size``.
    tol : float, default=3e-4
        Stop when F fell by less than this, relative, over ``n_iter_no_change`` steps; 0 never stops for it.
    n_iter_no_change : int, default=10
        Steps (or epochs) without news (see ``tol``), or without a lower validation error, before stopping.
    output_activation : str, default="identity"
        f of the outputs. Targets are standardised only under identity outputs.
    bias : bool, default=True
        Whether units have a bias.
    scale : bool, default=True
        Whether inputs and targets are standardised inside.
    early_stopping : bool, default=False
        Divide the rows in three, as MATLAB's fitnet does: descend on one part, stop when the error on the
        validation part has not fallen for ``n_iter_no_change`` steps and take its lowest point, and keep the test
        part apart. Row numbers are in ``train_rows_``, ``validation_rows_``, ``test_rows_``.
    validation_fraction, test_fraction : float, default=0.15
        Shares of the rows for the second and third part; used only with ``early_stopping``. 0 for no test part.
    warm_start : bool, default=False
        Go on from the weights of the fit before, in its scaling.
    random_state : int, RandomState or None, default=None
        Starting weights and division of the rows.
    verbose : bool, default=False
        Print the error as the descent goes.

    Attributes
    ----------
    coefs_ : list of ndarray (inputs, outputs) of each layer, in the user's units
    intercepts_ : list of ndarray (outputs,) of each layer
    path_ : DescentPath, the way the descent went, in scaled weights
    weights_ : ndarray (n_weights,), the weights chosen on that path
    network_ : Network; scaling_ : Scaling; columns_ : Columns, or None where the columns were plain numbers
    loss_curve_ : list of float, F/n at each step, scaled units; best_loss_ : the loss of the weights chosen
    validation_loss_curve_ : list of float, E/n on the validation part, or None
    alpha_ : float or "evidence", the weight decay used
    n_iter_ : int, steps, or epochs by mini-batches; n_passes_ : int, sums over the rows; stop_reason_ : str, one sentence
    verdict_ : Verdict, what kind of point the descent stopped at and what to do; found when it is first asked for, from the
        rows of ``fit``, which an estimator that was pickled or went on by ``partial_fit`` has no more
    train_rows_, validation_rows_, test_rows_ : ndarray of row numbers
    n_features_in_, feature_names_in_, n_outputs_, n_layers_, out_activation_ : as in scikit-learn

    Notes
    -----
    Data frames (pandas, Polars, Arrow, DuckDB) may hold text, booleans, dates and missing values: their columns
    are encoded as on the command line, and ``columns_`` says how. Arrays must be numbers without gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline import NetworkRegressor
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> fit = NetworkRegressor(hidden_layer_sizes=(5,), random_state=0).fit(X, np.sin(X[:, 0]))
    >>> bool(fit.score(X, np.sin(X[:, 0])) > 0.999)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = core.HIDDEN_LAYER_SIZES,
        activation: str = core.ACTIVATION,
        *,
        descent: Any = "auto",
        alpha: Any = core.ALPHA,
        max_iter: int = core.MAX_ITER,
        tol: float = core.TOL,
        n_iter_no_change: int = core.N_ITER_NO_CHANGE,
        output_activation: str = "identity",
        bias: bool = True,
        scale: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.descent = descent
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.output_activation = output_activation
        self.bias = bias
        self.scale = scale
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights for rows X (n, inputs) and targets y (n,) or (n, outputs).

        sample_weight (n,): how often each row counts. Warns with DescentWarning where the descent diverged or was
        interrupted (the lowest-error weights are kept), with ConvergenceWarning where ``max_iter`` ended it.
        Raises ValueError, in a sentence, for data or settings that do not fit.
        """
        columns, x, y = self._training_rows(X, y)
        targets = y[:, None] if y.ndim == 1 else y
        weights = (
            None
            if sample_weight is None
            else _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        parts, judge, watched = core.Division(np.arange(len(x)), *(np.arange(0),) * 2), None, {}
        if self.early_stopping:
            parts = core.divide(
                len(x), self.validation_fraction, self.test_fraction, np.random.default_rng(seed)
            )
            judge = "validation" if len(parts.validation) else None
            sets = {"validation": parts.validation, "test": parts.test}
            watched = {
                name: (x[part], targets[part], *([] if weights is None else [weights[part]]))
                for name, part in sets.items()
                if len(part)
            }
        context = self._init_callback_context(max_subtasks=self.max_iter)
        given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        context.call_on_fit_task_begin(estimator=self, **given)

        def stored(fitted: core.FittedNetwork) -> dict[str, Any]:
            return {
                "_fitted": fitted,
                "_one_dimensional": y.ndim == 1,
                "columns_": columns,
                **_folded(fitted),
            }

        progress: Any = _print_progress if self.verbose else None
        if stepwise := bool(getattr(self, "_skl_callbacks", [])):
            progress = _StepTasks(self, context, stored, **given)
        fitted, path = core.fit_network(
            x[parts.train],
            targets[parts.train],
            sample_weight=None if weights is None else weights[parts.train],
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            output_activation=self.output_activation,
            bias=self.bias,
            scale=self.scale,
            indicators=None if columns is None else columns.indicators,
            descent=self.descent,
            alpha=self.alpha,
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            seed=seed,
            watched=watched,
            judge=judge,
            before=getattr(self, "_fitted", None) if self.warm_start else None,
            progress=progress,
            every_step=stepwise,
            input_names=getattr(self, "feature_names_in_", None)
            if columns is None
            else columns.encoded_names,
        )
        for name, value in (stored(fitted) | _told(path)).items():
            setattr(self, name, value)
        self._memory: Any = (None, None)  # a partial_fit after this goes on from these weights, from rest
        self.train_rows_, self.validation_rows_, self.test_rows_ = parts.train, parts.validation, parts.test
        self._to_judge: Any = (x, targets, weights)
        context.call_on_fit_task_end(estimator=self, **given, reconstruction_attributes=dict)
        _warn(path.stop, path.stop_message)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go on for one epoch of mini-batches over rows X (n, inputs) and targets y (n,) or (n, outputs).

        The first call fixes columns, their encoding and the scaling; what the descent remembers is carried from call to
        call. ``descent="auto"`` is ``"mini-batch"`` here; a descent by the gradient without a ``batch_size`` takes
        min(200, n); a rate that decays towards zero stays where it began. After ``fit`` it goes on from the weights found.
        Raises ValueError, in a sentence, for a descent that needs all rows at once, and where rows or targets have changed
        their shape. Warns with DescentWarning where the descent diverged; the weights of before are then kept.
        """
        if first := not hasattr(self, "_fitted"):
            columns, x, y = self._training_rows(X, y)
        else:
            columns, x, y = self._further_rows(X, y)
        targets = y[:, None] if y.ndim == 1 else y
        weights = (
            None
            if sample_weight is None
            else _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        )
        kind = _kind_of(self.descent)
        before, standing = getattr(self, "_memory", (None, None))
        standing = standing if before == kind else None  # another descent has another memory
        fitted, path, standing = core.fit_part(
            x,
            targets,
            sample_weight=weights,
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            output_activation=self.output_activation,
            bias=self.bias,
            scale=self.scale,
            indicators=None if columns is None else columns.indicators,
            descent=self.descent,
            alpha=self.alpha,
            seed=check_random_state(self.random_state).randint(2**31 - 1),
            before=getattr(self, "_fitted", None),
            standing=standing,
        )
        told = _told(path)
        if not first:
            told["loss_curve_"] = [*self.loss_curve_, *told["loss_curve_"][1:]]
            told["n_iter_"] = self.n_iter_ + path.n_iter
            told["n_passes_"] = self.n_passes_ + path.n_passes
        else:
            self._one_dimensional = y.ndim == 1
        self._fitted, self.columns_ = fitted, columns
        self._memory = (kind, standing)
        for name, value in (_folded(fitted) | told).items():
            setattr(self, name, value)
        self._to_judge = None
        none = np.arange(0)
        self.train_rows_, self.validation_rows_, self.test_rows_ = np.arange(len(x)), none, none
        if path.stop == Stop.DIVERGED:
            warnings.warn(path.stop_message, DescentWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """ŷ for rows X (n, inputs), in the targets' units: (n,), or (n, outputs) if y had columns.

        Raises NotFittedError before ``fit``, ValueError where columns or values do not fit.
        """
        check_is_fitted(self)
        x = (
            validate_data(self, X, dtype=np.float64, reset=False)
            if self.columns_ is None
            else self._encoded(X)
        )
        predicted = self._fitted.predict(x)
        return predicted[:, 0] if self._one_dimensional else predicted

    def descended_rows(self, X: Any, y: Any, sample_weight: Any = None) -> InMemory:
        """The rows X, y and their weights, as ``fit`` was given them, as its descent saw them: encoded, scaled, the train part.

        E of ``path_`` sums over these; an error surface of this network wants them. Raises NotFittedError before ``fit``,
        ValueError where columns or values do not fit, or the rows are not as many as in the fit.
        """
        check_is_fitted(self)
        _, x, y = self._further_rows(X, y)
        train = self.train_rows_
        given = sum(len(part) for part in (train, self.validation_rows_, self.test_rows_))
        if len(x) != given:
            raise ShapeError(f"X has {len(x)} rows, but the fit had {given}: pass the X and y of the fit.")
        s = None if sample_weight is None else _check_sample_weight(sample_weight, x)[train]
        targets = y[:, None] if y.ndim == 1 else y
        return self._fitted.rows(x[train], targets[train], s)

    @property
    def verdict_(self) -> Verdict:
        """What kind of point the descent stopped at. AttributeError where the rows of the fit are not there any more."""
        seen = getattr(self, "_to_judge", None)
        if seen is None:
            raise AttributeError(
                "verdict_ needs the rows of a fit, which this estimator does not have: call fit, or "
                "verdict_of(fit.path_, fit.descended_rows(X, y))."
            )
        if not isinstance(seen, Verdict):
            x, y, s = seen
            train = self.train_rows_
            rows = self._fitted.rows(x[train], y[train], None if s is None else s[train])
            seen = self._to_judge = verdict_of(self.path_, rows)
        return seen

    def __getstate__(self) -> Any:
        """What is pickled: a verdict that is known, but not the rows it would be found from."""
        state = dict(super().__getstate__())
        if not isinstance(state.get("_to_judge"), Verdict):
            state.pop("_to_judge", None)
        return state

    def _encoded(self, X: Any) -> np.ndarray:
        """x (n, inputs) of a data frame whose columns are not plain numbers, encoded as at the first fit."""
        columns: Any = self.columns_
        table = _as_table(X)
        if table is None:
            raise TableError(
                "this network was fitted to a data frame with columns that are not plain numbers: pass a data frame "
                f"with the columns {', '.join(use.name for use in columns.uses if use.encoded)}."
            )
        columns.check(list(table.columns))
        return np.asarray(columns.encode(table.columns))

    def _further_rows(self, X: Any, y: Any) -> tuple[Columns | None, np.ndarray, np.ndarray]:
        """What ``_training_rows`` gives, with the columns and encoding of the rows before."""
        numbers = {"dtype": np.float64, "multi_output": True, "y_numeric": True, "reset": False}
        if self.columns_ is None:
            x, y = validate_data(self, X, y, **numbers)
        else:
            x = self._encoded(X)
            y = _check_y(y, multi_output=True, y_numeric=True, estimator=self)
            check_consistent_length(x, y)
        return self.columns_, x, np.asarray(y, np.float64)

    def _training_rows(self, X: Any, y: Any) -> tuple[Columns | None, np.ndarray, np.ndarray]:
        """The columns' encoding (None for plain numbers), x (n, inputs) and y (n,) or (n, outputs), checked."""
        table = _as_table(X)
        if table is None or _numbers_without_gaps(table):
            x, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
            return None, x, np.asarray(y, np.float64)
        validate_data(self, X, skip_check_array=True)
        y = validate_data(self, y=y, X="no_validation", multi_output=True, y_numeric=True)
        targets = y[:, None] if y.ndim == 1 else y
        names = [f"y{j + 1}" for j in range(targets.shape[1])]
        while set(names) & set(table.columns):
            names = [f"{name}_" for name in names]
        columns = Columns.fit([table.columns | dict(zip(names, targets.T, strict=True))], names)
        self.feature_names_in_ = np.array(list(table.columns), dtype=object)
        self.n_features_in_ = len(table.columns)
        return columns, columns.encode(table.columns), np.asarray(y, np.float64)


def _kind_of(descent: Any) -> Any:
    """What must be the same for the memory of a descent to be carried on: its type, or the transformation itself."""
    if isinstance(descent, str):
        return descent
    return getattr(
        descent, "transformation", descent if is_transformation(descent) else type(descent).__name__
    )


def _folded(fitted: core.FittedNetwork) -> dict[str, Any]:
    """The attributes that say what the network is."""
    return {
        "network_": fitted.network,
        "weights_": fitted.weights,
        "scaling_": fitted.scaling,
        "coefs_": [layer.coef for layer in fitted.layers],
        "intercepts_": [layer.intercept for layer in fitted.layers if layer.intercept is not None],
        "n_outputs_": fitted.network.outputs,
        "n_layers_": len(fitted.network.sizes),
        "out_activation_": fitted.network.output_activation,
    }


def _told(path: DescentPath) -> dict[str, Any]:
    """The attributes that say how the descent went."""
    loss = (path.penalised_error / path.n_rows).tolist()
    validation = path.watched.get("validation")
    return {
        "path_": path,
        "alpha_": path.alpha,
        "loss_curve_": loss,
        "best_loss_": loss[int(np.searchsorted(path.steps, path.best_step))],
        "validation_loss_curve_": None
        if validation is None
        else (validation / path.watched_rows["validation"]).tolist(),
        "n_iter_": max(path.n_iter, 1),
        "n_passes_": path.n_passes,
        "stop_reason_": path.stop_message,
    }


class _StepTasks:
    """Each step of the descent as a task of scikit-learn's callbacks protocol."""

    def __init__(
        self, estimator: NetworkRegressor, context: Any, stored: Callable[..., dict[str, Any]], **given: Any
    ) -> None:
        self._context, self._stored, self._given = context, stored, {"estimator": estimator, **given}
        self._steps = 0

    def __call__(self, progress: Progress, standing: Callable[[], core.FittedNetwork]) -> bool:
        if progress.steps <= self._steps:
            return False  # a pass that was no step
        self._steps = progress.steps
        task = self._context.subcontext(task_name="step")
        task.call_on_fit_task_begin(**self._given)
        return bool(
            task.call_on_fit_task_end(
                **self._given, reconstruction_attributes=lambda: self._stored(standing())
            )
        )


def _print_progress(progress: Progress, _: Any) -> None:
    seen = "".join(
        f", {name} {error / progress.watched_rows[name]:.6g}" for name, error in progress.watched.items()
    )
    print(f"step {progress.steps}: E/n = {progress.error / progress.n_rows:.6g}{seen}")


def _warn(stop: Stop, message: str) -> None:
    if stop in (Stop.DIVERGED, Stop.INTERRUPTED):
        warnings.warn(message, DescentWarning, stacklevel=3)
    elif stop == Stop.MAX_ITER:
        warnings.warn(message, ConvergenceWarning, stacklevel=3)


def _as_table(X: Any) -> Table | None:
    """The columns of a data frame, or None if X is something else."""
    if isinstance(X, (np.ndarray, list, tuple)) or not hasattr(X, "__class__"):
        return None
    import narwhals as nw

    frame = nw.from_native(X, pass_through=True)
    return table_from_frame(X) if isinstance(frame, (nw.DataFrame, nw.LazyFrame)) else None


def _numbers_without_gaps(table: Table) -> bool:
    return all(
        column.dtype == bool or (column.dtype.kind == "f" and not np.isnan(column).any())
        for column in table.columns.values()
    )
