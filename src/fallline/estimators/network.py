"""The scikit-learn face: estimators that validate, call the core and store what it found.

Nothing is computed here. What a fit needs stands in ``fit/``, with its own tests.
"""

import dataclasses
import functools
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d, estimator_html_repr
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted, validate_data

from fallline.arrays import on_device, taken
from fallline.descent import Stop
from fallline.descent.transformation import is_transformation
from fallline.estimators.common import store, warn_of
from fallline.exceptions import DescentWarning, SettingsError, ShapeError, TableError
from fallline.fit.checkpointed import checkpointed
from fallline.fit.class_decay import decided
from fallline.fit.division import Division, divide
from fallline.fit.figures import FigureSums
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import fit_network
from fallline.fit.part import fit_part
from fallline.fit.settings import Settings
from fallline.fit.simplex import one_hot, probabilities
from fallline.fit.streamed import fit_streamed, rows_of_fit
from fallline.landscape.verdict import Verdict, verdict_of
from fallline.rows.cluster import Clustered, Partitions
from fallline.rows.device import laid_out
from fallline.rows.partitioned import PartitionedTable, check_collections, is_dask, is_frame, lazily, table_of_part
from fallline.rows.rows import Rows
from fallline.rows.stream import Streamed
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.sure.intervals import enough_rows
from fallline.table.columns import Columns
from fallline.table.encoded import EncodedRows, columns_of, written_down
from fallline.table.frames import table_if_frame
from fallline.table.stream import StreamedTable
from fallline.table.table import Table
from fallline.walk.loop import Progress
from fallline.walk.path import DescentPath


class _Targets(NamedTuple):
    """What a y is to a network."""

    values: np.ndarray  # (n, outputs), float64
    said: dict[str, Any]  # the attributes that say what y was
    classes: np.ndarray | None = None  # (n,), the number of each row's class


class _Rows(NamedTuple):
    """Encoded inputs (n, inputs), targets (n, outputs) and row weights (n,) or None, in the user's units, wherever they lie."""

    x: Any
    y: Any
    weights: Any

    def part(self, which: np.ndarray) -> "_Rows":
        """Those of these numbers."""
        return _Rows(*(None if each is None else taken(each, which) for each in self))


class _NetworkEstimator(CallbackSupportMixin, BaseEstimator):
    """What every estimator of a network does: check rows, encode data frames, call the core, store what it found.

    A subclass says what its targets are (``_checks_of_y``, ``_targets``, ``_row_weights``), and has ``fit``, ``partial_fit`` and
    ``predict`` of its own, in which the words for its y stand.
    """

    _checks_of_y: ClassVar[dict[str, Any]]  # what scikit-learn's check of y is told
    _knows_intervals: ClassVar[bool] = False  # whether a fit keeps what its intervals are made of
    _knows_devices: ClassVar[bool] = False  # whether rows may lie on a GPU
    _one_target_scale: ClassVar[bool] = False

    def __init__(
        self,
        hidden_layer_sizes: Any = Settings.hidden_layer_sizes,
        activation: str = Settings.activation,
        *,
        descent: Any = "auto",
        alpha: Any = Settings.alpha,
        n_starts: Any = Settings.n_starts,
        average: bool = True,
        max_iter: int = Settings.max_iter,
        tol: float = Settings.tol,
        n_iter_no_change: int = Settings.n_iter_no_change,
        max_seconds: float | None = None,
        effort: str = Settings.effort,
        output_activation: str = "identity",
        bias: bool = True,
        scale: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        checkpoint: Any = None,
    ) -> None:
        store(locals())

    @abstractmethod
    def _targets(self, y: np.ndarray, known: np.ndarray | None = None) -> _Targets:
        """A checked y as the targets of a network; ``known`` are the classes of before, where there are classes."""

    def _row_weights(self, sample_weight: Any, x: np.ndarray, targets: _Targets) -> np.ndarray | None:
        """How often each row counts, (n,), or None where each counts once."""
        if sample_weight is None:
            return None
        if on_device(x):
            return laid_out(x, targets.values, sample_weight)[2]
        return np.asarray(_check_sample_weight(sample_weight, x, ensure_non_negative=True))

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Find the weights for rows X and y; called by a ``fit`` that stands in scikit-learn's ``with_callbacks``."""
        columns, x, y = self._training_rows(X, y)
        targets = self._targets(y)
        rows = _Rows(x, targets.values, self._row_weights(sample_weight, x, targets))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        settings = self._settings(columns, None if self.random_state is None else seed)
        shares = (self.validation_fraction, self.test_fraction) if self.early_stopping else None
        before = getattr(self, "_fitted", None) if self.warm_start else None
        context = self._init_callback_context(max_subtasks=self.max_iter)
        given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        context.call_on_fit_task_begin(estimator=self, **given)

        def stored(fitted: FittedNetwork) -> dict[str, Any]:
            return {"_fitted": fitted, "columns_": columns} | targets.said | _folded(fitted)

        progress: Any = _print_progress if self.verbose else None
        if stepwise := bool(getattr(self, "_skl_callbacks", [])):
            progress = _StepTasks(self, context, stored, **given)
        also = {"early_stopping": shares, "the fit before": before}
        with checkpointed(settings, {"table": rows}, also, seed) as settings:
            parts = Division(np.arange(x.shape[0]))
            if shares is not None:
                parts = divide(x.shape[0], *shares, np.random.default_rng(settings.seed), targets.classes)
            held = {"validation": parts.validation, "test": parts.test}
            watched = {name: rows.part(part) for name, part in held.items() if len(part)}
            train = rows.part(parts.train)
            settings = self._decided(settings, train, self.early_stopping)
            fitted, path = fit_network(
                train.x, train.y, settings, sample_weight=train.weights, watched=watched,
                judge="validation" if "validation" in watched else None, before=before, progress=progress,
                every_step=stepwise,
            )  # fmt: skip
            if settings.checkpoint is not None:
                settings.checkpoint.ended(path.stop)
        settings = dataclasses.replace(settings, checkpoint=None)
        self.__dict__.update(stored(fitted) | _told(path), starts_=fitted.starts, n_passes_=fitted.passes)
        left_out = fitted.left_out
        if left_out is not None and targets.said.get("_one_dimensional"):
            left_out = left_out[:, 0]
        self.out_of_fold_prediction_ = left_out
        self._memory: Any = (None, None)  # a partial_fit after this goes on from these weights, from rest
        self.train_rows_, self.validation_rows_, self.test_rows_ = parts.train, parts.validation, parts.test
        self._rows: Any = rows
        self._verdict: Verdict | None = None
        self._intervals: Any = None
        if self._knows_intervals and not on_device(x):
            unseen = watched.get("test", watched.get("validation"))
            kept = enough_rows(fitted.rows(*train))
            apart = None if unseen is None else enough_rows(fitted.rows(*unseen))
            self._intervals = functools.partial(intervals_of_fit, fitted, path, kept, settings, apart)
        context.call_on_fit_task_end(estimator=self, **given, reconstruction_attributes=dict)
        warn_of(path.stop, path.stop_message, 3)
        return self

    def _fit_streamed(
        self, table: "StreamedTable | PartitionedTable", target: Any, asked: Mapping[str, Any]
    ) -> Self:  # fmt: skip
        """Find the weights for the rows of a table on disk, or on a cluster; called as ``_fit`` is."""
        targets = [target] if isinstance(target, str) else list(target or ())
        self._must_be_for_passes()
        columns = columns_of(table, targets, **asked)  # type: ignore[arg-type]  # of which it asks for blocks alone
        names = [name for name in table.columns if name not in targets]
        if isinstance(table, StreamedTable):
            source: Any = EncodedRows(table, columns)
            with written_down(source):
                return self._fit_rows(lambda: Streamed(source), table, columns, names, isinstance(target, str))
        source = table.encoded(columns)
        return self._fit_rows(lambda: Clustered(source), table, columns, names, isinstance(target, str))

    def _fit_clustered(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Find the weights for Dask arrays; called as ``_fit`` is."""
        self._must_be_for_passes()
        source = Partitions.of_arrays(X, y, sample_weight)
        return self._fit_rows(lambda: Clustered(source), X, None, X.shape[1], y.ndim == 1)

    def _must_be_for_passes(self) -> None:
        """Raise SettingsError for what needs rows in memory."""
        for name in ("early_stopping", "warm_start"):
            if getattr(self, name):
                raise SettingsError(
                    f"{name} needs rows in memory, and these are on disk or on a cluster: set {name}=False."
                )

    def _fit_rows(
        self, rows_of: Callable[[], Streamed], X: Any, columns: Columns | None, names: Sequence[str] | int,
        one_dimensional: bool,
    ) -> Self:  # fmt: skip
        """Find the weights for rows that answer pass by pass; ``names`` of the inputs, or how many there are without names."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        settings = self._settings(columns, None if self.random_state is None else seed)
        said = {"_one_dimensional": one_dimensional}
        context = self._init_callback_context(max_subtasks=self.max_iter)
        given = {"X": X, "y": None, "metadata": {"sample_weight": None}}
        context.call_on_fit_task_begin(estimator=self, **given)

        def stored(fitted: FittedNetwork) -> dict[str, Any]:
            return {"_fitted": fitted, "columns_": columns} | said | _folded(fitted)

        progress: Any = _print_progress if self.verbose else None
        if stepwise := bool(getattr(self, "_skl_callbacks", [])):
            progress = _StepTasks(self, context, stored, **given)
        if isinstance(names, int):
            self.n_features_in_ = names
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = np.array(names, dtype=object)
            self.n_features_in_ = len(names)
        rows = rows_of()
        with checkpointed(settings, {"table": rows}, {}, seed) as settings:
            fitted, path = fit_streamed(rows, settings, progress=progress, every_step=stepwise)
            if settings.checkpoint is not None:
                settings.checkpoint.ended(path.stop)
        settings = dataclasses.replace(settings, checkpoint=None)
        mine, inside = rows_of_fit(rows, settings)
        own = fitted.own_scaling
        few: list[Any] = [each and _few_of(each.scaled(own)) for each in (mine, inside) if self._knows_intervals]
        self.__dict__.update(stored(fitted) | _told(path), starts_=fitted.starts, n_passes_=fitted.passes)
        self.out_of_fold_prediction_, self._memory = None, (None, None)
        # Row numbers of a table that does not fit in memory do not fit there either.
        rows_known: Any = None
        self.train_rows_ = self.validation_rows_ = self.test_rows_ = rows_known
        self._rows, self._verdict, self._intervals = mine, None, None
        if self._knows_intervals:
            self._intervals = functools.partial(intervals_of_fit, fitted, path, few[0], settings, few[1])
        context.call_on_fit_task_end(estimator=self, **given, reconstruction_attributes=dict)
        warn_of(path.stop, path.stop_message, 4)
        return self

    def _settings(self, columns: Columns | None, seed: int | None = None) -> Settings:
        """What a fit is told of the parameters."""
        own = {field.name for field in dataclasses.fields(Settings)} & set(self.get_params(deep=False))
        return Settings(
            **{name: getattr(self, name) for name in own}, one_target_scale=self._one_target_scale, seed=seed,
            indicators=None if columns is None else columns.indicators, input_names=self._input_names(columns),
        )  # fmt: skip

    def _decided(self, settings: Settings, rows: _Rows, judged: bool) -> Settings:
        """The settings of a fit to these rows, where they are to be found from them; ``judged``: whether others stop it."""
        return settings

    def _input_names(self, columns: Columns | None) -> Any:
        """What the inputs of the network are called, where they have names."""
        return getattr(self, "feature_names_in_", None) if columns is None else columns.encoded_names

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, known: np.ndarray | None = None) -> Self:
        """One epoch of mini-batches over rows X and y, from where the last call stopped."""
        if first := not hasattr(self, "_fitted"):
            columns, x, y = self._training_rows(X, y, known)
        else:
            columns, x, y = self._further_rows(X, y)
        targets = self._targets(y, known)
        weights = self._row_weights(sample_weight, x, targets)
        kind = _kind_of(self.descent)
        before, standing = getattr(self, "_memory", (None, None))
        standing = standing if before == kind else None  # another descent has another memory
        fitted, path, standing = fit_part(
            x, targets.values, self._settings(columns), sample_weight=weights,
            seed=check_random_state(self.random_state).randint(2**31 - 1), before=getattr(self, "_fitted", None),
            standing=standing,
        )  # fmt: skip
        told = _told(path)
        if not first:
            told["loss_curve_"] = [*self.loss_curve_, *told["loss_curve_"][1:]]
            told["n_iter_"] = self.n_iter_ + path.n_iter
            told["n_passes_"] = self.n_passes_ + path.n_passes
        else:
            told |= targets.said
        self.__dict__.update(_folded(fitted) | told, _fitted=fitted, columns_=columns, starts_=fitted.starts)
        self.out_of_fold_prediction_ = None
        self._memory, self._intervals, self._rows, self._verdict = (kind, standing), None, None, None
        none = np.arange(0)
        self.train_rows_, self.validation_rows_, self.test_rows_ = np.arange(x.shape[0]), none, none
        if path.stop == Stop.DIVERGED:
            warnings.warn(path.stop_message, DescentWarning, stacklevel=3)
        return self

    def _predicted(self, X: Any) -> np.ndarray:
        """The outputs for rows X, (n, outputs) in the targets' units, whatever they are called."""
        if isinstance(X, StreamedTable):
            return np.concatenate([self._fitted.predict(x) for x in self._blocks_of_inputs(X)])
        x = self._inputs(X)
        return self._fitted.predict(x)

    def _blocks_of_inputs(self, table: StreamedTable) -> Iterator[np.ndarray]:
        """Rows of a table on disk as the network takes them, (b, inputs) at a time."""
        check_is_fitted(self)
        columns, start = self.columns_, 0
        if columns is None:
            raise TableError(
                "this network was fitted to plain numbers: pass an array or a data frame, such as Table.to_numpy() of a table "
                "that read_table has read."
            )
        columns.check(table.columns)
        for block in table.blocks(only=columns.input_names):
            x = columns.encode(block, start)
            start += len(x)
            yield x

    def _inputs(self, X: Any) -> Any:
        """Rows X as the network takes them, (n, inputs), on the GPU where they lie there."""
        check_is_fitted(self)
        if self.columns_ is None and on_device(X):
            return self._on_device(X, X, reset=False)[0]
        if self.columns_ is None:
            return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))
        return self._encoded(X)

    def descended_rows(self, X: Any, y: Any = None, sample_weight: Any = None) -> Rows:
        """The rows X, y and their weights, as ``fit`` was given them, as its descent saw them: encoded, scaled, the train part.

        Of a table on disk (``open_table``), or what Dask holds, all rows, asked anew at every pass. E of ``path_`` sums over
        these; an error surface of this network wants them. Raises NotFittedError before ``fit``, ValueError where columns or
        values do not fit, or the rows are not as many as in the fit.
        """
        check_is_fitted(self)
        if isinstance(X, StreamedTable):
            return Streamed(EncodedRows(X, self.columns_)).scaled(self._fitted.own_scaling)
        if is_dask(X):
            columns: Any = self.columns_
            table = PartitionedTable.of_frame(X).encoded(columns) if is_frame(X) else None
            parts = Partitions.of_arrays(X, y, sample_weight) if table is None else table
            return Clustered(parts).scaled(self._fitted.own_scaling)
        _, x, y = self._further_rows(X, y)
        given = sum(map(len, (self.train_rows_, self.validation_rows_, self.test_rows_)))
        if x.shape[0] != given:
            raise ShapeError(f"X has {x.shape[0]} rows, but the fit had {given}: pass the X and y of the fit.")
        targets = self._targets(y, getattr(self, "classes_", None))
        rows = _Rows(x, targets.values, self._row_weights(sample_weight, x, targets))
        return self._fitted.rows(*rows.part(self.train_rows_))

    @property
    def verdict_(self) -> Verdict:
        """What kind of point the descent stopped at. AttributeError where the rows of the fit are not there any more."""
        rows: Any = getattr(self, "_rows", None)
        known: Verdict | None = getattr(self, "_verdict", None)
        if known is None and rows is None:
            raise AttributeError(
                "verdict_ needs the rows of a fit, which this estimator does not have: call fit, or "
                "verdict_of(fit.path_, fit.descended_rows(X, y))."
            )
        if known is None:
            own = self._fitted.own_scaling
            if isinstance(rows, _Rows):
                known = verdict_of(self.path_, self._fitted.rows(*rows.part(self.train_rows_)))
            else:
                known = verdict_of(self.path_, rows.scaled(own))
            self._verdict = known
        return known

    def _html_repr(self) -> str:
        """What scikit-learn shows, and after a fit the path and the verdict."""
        diagram = estimator_html_repr(self)  # it asks for every attribute, the verdict among them
        parts = [getattr(self, "path_", None), getattr(self, "_verdict", None)]
        return diagram + "".join(part._repr_html_() for part in parts if part is not None)

    def __getstate__(self) -> Any:
        """What is pickled: a verdict that is known, but not the rows it would be found from."""
        state = dict(super().__getstate__())
        state.pop("_rows", None)
        return state

    def _encoded(self, X: Any) -> np.ndarray:
        """x (n, inputs) of a data frame whose columns are not plain numbers, encoded as at the first fit."""
        columns: Columns = self.columns_
        table = table_if_frame(X)
        if table is None:
            raise TableError(
                "this network was fitted to a data frame with columns that are not plain numbers: pass a data frame "
                f"with the columns {', '.join(use.name for use in columns.uses if use.encoded)}."
            )
        return columns.encode(table.columns)

    def _on_device(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        """Rows X and y of which one lies on a GPU, both there, checked as ``InMemory`` checks them."""
        if not self._knows_devices:
            raise SettingsError(
                f"{type(self).__name__} takes rows that NumPy can read, but these lie on a GPU: pass X.get() of CuPy, or X.cpu() "
                "of PyTorch."
            )
        x, y, _ = laid_out(X, y)
        validate_data(self, x, skip_check_array=True, reset=reset)
        return x, y

    def _further_rows(self, X: Any, y: Any) -> tuple[Columns | None, np.ndarray, np.ndarray]:
        """What ``_training_rows`` gives, with the columns and encoding of the rows before."""
        if self.columns_ is None and (on_device(X) or on_device(y)):
            x, y = self._on_device(X, y, reset=False)
        elif self.columns_ is None:
            x, y = validate_data(self, X, y, dtype=np.float64, reset=False, **self._checks_of_y)
        else:
            x = self._encoded(X)
            y = _check_y(y, estimator=self, **self._checks_of_y)
            check_consistent_length(x, y)
        return self.columns_, x, y

    def _training_rows(
        self, X: Any, y: Any, known: np.ndarray | None = None
    ) -> tuple[Columns | None, np.ndarray, np.ndarray]:
        """The columns' encoding (None for plain numbers), x (n, inputs) and y, checked."""
        if on_device(X) or on_device(y):
            return None, *self._on_device(X, y, reset=True)
        table = table_if_frame(X)
        if table is None or _numbers_without_gaps(table):
            x, y = validate_data(self, X, y, dtype=np.float64, **self._checks_of_y)
            return None, x, y
        validate_data(self, X, skip_check_array=True)
        y = validate_data(self, y=y, X="no_validation", **self._checks_of_y)
        targets, _, classes = self._targets(y, known)
        if classes is not None:  # one column, which an input may give away
            targets = classes[:, None].astype(np.float64)
            if known is not None and np.ptp(classes) == 0:
                raise TableError(
                    f"the first rows of partial_fit are all of the class {known.tolist()[classes[0]]!r}, so that nothing says "
                    "which columns of the data frame give the class away: begin with rows of two classes or more."
                )
        names = [f"y{j + 1}" for j in range(targets.shape[1])]
        while set(names) & set(table.columns):
            names = [f"{name}_" for name in names]
        columns = Columns.fit([table.columns | dict(zip(names, targets.T, strict=True))], names)
        self.feature_names_in_ = np.array(list(table.columns), dtype=object)
        self.n_features_in_ = len(table.columns)
        return columns, columns.encode(table.columns), y


class NetworkRegressor(MultiOutputMixin, RegressorMixin, _NetworkEstimator):
    """A neural network fitted by least squares.

    Goes down F = ½ Σ_μ s_μ Σ_j (y_j − ŷ_j)² + ½ · alpha · Σ coef², by Levenberg–Marquardt where the network is
    small, by L-BFGS where it is not. Inputs and targets are standardised inside; ``coefs_`` and predictions are in
    the user's units.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units in each hidden layer; ``()`` for none: ŷ_j = f(Σ_i w_ij x_i + b_j). ``"auto"``: networks of
        2, 5, 10, 20 and 40 units and ridge regression, combined in one network by the shares that predict rows left out best;
        20 units where alpha is not found by its evidence. A table of 5,000 rows or more: judged by rows held out inside.
    activation : str, default="tanh"
        f of the hidden layers: identity, logistic, tanh, relu, leaky_relu, softplus, softsign, elu, silu, sine, gaussian.
    descent : "auto", "levenberg-marquardt", "l-bfgs", "rprop", "gradient", "mini-batch" or a descent
        How the weights move. A descent has settings of its own: ``GradientDescent(learning_rate=0.1)``, tuned as
        ``descent__learning_rate``. An Optax transformation, such as ``optax.adam(1e-3)``, is one too.
    alpha : "auto" or float, default="auto"
        Weight decay, in standardised units; scikit-learn's ``alpha``: both terms of its objective are divided by n.
        ``"evidence"`` finds it on the way (Bayesian regularisation); it then acts on the biases of hidden units, too.
        ``"auto"`` is that where Levenberg–Marquardt descends 10 rows or more without early stopping, and 0.1 elsewhere.
    n_starts : "auto" or int, default="auto"
        How often the descent begins, from other weights each time. ``"auto"``: ten times where Levenberg–Marquardt
        descends and rows · outputs · weights² is up to 1e8, five times up to 1e9, three times up to 2e9, once elsewhere. Where
        widths are combined, so many folds (3 at least), and ten networks in all; a number: so many folds, and networks a width.
    average : bool, default=True
        The network is the mean of all starts: one wider network, hidden units side by side. Without, it is the start of the
        highest evidence, or of the lowest F; where widths are combined, one network of the width shown.
    max_iter : int, default=1000
        The most steps; epochs, where the descent has a ``batch_size``.
    tol : float, default=3e-4
        Stop when F fell by less than this, relative, over ``n_iter_no_change`` steps; 0 never stops for it.
    n_iter_no_change : int, default=10
        Steps (or epochs) without news (see ``tol``), or without a lower validation error, before stopping.
    max_seconds : float or None, default=None
        The fit, with all its starts, ends when this time is over, and keeps the best so far: the starts that had arrived, or
        the lowest point of the first. A pass over the rows is not cut short, and intervals are found out later.
    effort : "usual" or "quick", default="usual"
        ``"quick"``: three folds and networks in place of ten, none of 40 units, a third of the work by mini-batches: a third
        of the time or less, for an error that was 2 % larger in the mean (benchmarks/README.md).
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
    n_jobs : int or None, default=None
        Threads in which starts, widths and the fits behind intervals walk side by side; the result does not depend on it.
        None and −1: one for each processor; −2: one less.
    verbose : bool, default=False
        Print the error as the descent goes.
    checkpoint : str, path or None, default=None
        A folder in which ``fit`` keeps how far it is, every 15 seconds or so, at Ctrl-C and at SIGTERM: the same ``fit`` goes on
        from there and ends at the same bits. A fit that ended by itself leaves the folder empty; one of other rows or parameters
        is refused. Fits at the same time need a folder each.

    Attributes
    ----------
    coefs_ : list of ndarray (inputs, outputs) of each layer, in the user's units; the last ``network_.linear_units`` hidden units
        hand on what enters them: ridge regression's part in a combination
    intercepts_ : list of ndarray (outputs,) of each layer
    starts_ : Starts, how each start ended, where widths are combined those of the width shown; its ``minima`` say which are
        distinct, and how many starts ended in each. None after ``partial_fit``, which goes on from them all as one network
    path_ : DescentPath, the way one start went, in scaled weights: that of the highest evidence, or of the lowest F
    weights_ : ndarray (n_weights,), the scaled weights of ``network_``: those chosen on the path where there is one start
    network_ : Network; scaling_ : Scaling; columns_ : Columns, or None where the columns were plain numbers
    loss_curve_ : list of float, F/n at each step, scaled units; best_loss_ : the loss of the weights chosen
    validation_loss_curve_ : list of float, E/n on the validation part, or None
    alpha_ : float or "evidence", the weight decay used
    effective_weights_ : float, the number of the path's weights that the rows determine, None without Bayesian regularisation
    noise_precision_ : float, 1/σ² of the standardised targets, None without Bayesian regularisation
    out_of_fold_prediction_ : ndarray (n,) or (n, outputs), ŷ of the training rows by fits that had not seen them, NaN for rows
        that all had seen; None where the fit made none
    n_iter_ : int, steps on the path, or epochs by mini-batches; n_passes_ : int, sums over the rows of all starts
    stop_reason_ : str, one sentence
    verdict_ : Verdict, what kind of point the start shown stopped at and what to do; found when it is first asked for, from the
        rows of ``fit``, which an estimator that was pickled or went on by ``partial_fit`` has no more
    train_rows_, validation_rows_, test_rows_ : ndarray of row numbers
    n_features_in_, feature_names_in_, n_outputs_, n_layers_, out_activation_ : as in scikit-learn

    Notes
    -----
    Data frames (pandas, Polars, Arrow, DuckDB) may hold text, booleans, dates and missing values: their columns
    are encoded as on the command line, and ``columns_`` says how. Arrays must be numbers without gaps. Arrays of CuPy or
    PyTorch on a GPU stay there, and predictions for them are arrays there; float32 is computed in float32.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline import NetworkRegressor
    >>> X = np.linspace(-3, 3, 50)[:, None]
    >>> y = np.sin(X[:, 0]) + 0.1 * np.random.default_rng(0).normal(size=50)
    >>> fit = NetworkRegressor(hidden_layer_sizes=(5,), random_state=0).fit(X, y)
    >>> round(fit.score(X, y), 2)
    0.99
    """

    _checks_of_y: ClassVar = {"multi_output": True, "y_numeric": True}
    _knows_intervals: ClassVar[bool] = True
    _knows_devices: ClassVar[bool] = True

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, target: Any = None, drop: Sequence[str] = (),
        keep: Sequence[str] = (), categories: Sequence[str] = (),
    ) -> Self:  # fmt: skip
        """Find the weights for rows X (n, inputs) and targets y (n,) or (n, outputs).

        X and y may be Dask arrays, whose rows are summed where they lie. X may also be a Dask data frame, or a table on disk,
        ``open_table(…)``, read at every pass: then ``target`` names the column to predict, or a list of them, and ``drop``,
        ``keep`` and ``categories`` name columns to leave out, to use although they would be left out, and to take as categories.

        sample_weight (n,): how often each row counts. Warns with DescentWarning where the descent diverged or was
        interrupted (the lowest-error weights are kept), with ConvergenceWarning where ``max_iter`` or ``max_seconds`` ended it.
        Raises ValueError, in a sentence, for data or settings that do not fit.
        """
        asked = {"drop": drop, "keep": keep, "categories": categories}
        if is_dask(X):
            check_collections(X, y, sample_weight, target)
            if is_frame(X):
                return self._fit_streamed(PartitionedTable.of_frame(X), target, asked)
            return self._fit_clustered(X, y, sample_weight)
        if isinstance(X, StreamedTable):
            if y is not None or sample_weight is not None or not target:
                raise SettingsError(
                    "a table on disk holds the target itself: name its column in target=…, and leave out y and sample_weight."
                )
            return self._fit_streamed(X, target, asked)
        if target is not None or any(asked.values()):
            raise SettingsError(
                "target, drop, keep and categories name columns of a table on disk (open_table): give X and y, and leave out of "
                "X what is not to be used."
            )
        return self._fit(X, y, sample_weight)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R² of the predictions for rows X and targets y; of a table that holds the targets itself X alone."""
        table: Any = PartitionedTable.of_frame(X) if is_dask(X) and is_frame(X) else X
        if table is X and not isinstance(X, StreamedTable):
            return float(super().score(X, y, sample_weight))
        check_is_fitted(self)
        columns: Any = self.columns_
        sums = [FigureSums() for _ in columns.targets]
        for x, actual, _ in EncodedRows(table, columns).blocks():
            for each, of, predicted in zip(sums, actual.T, self._fitted.predict(x).T, strict=True):
                each.add(of, predicted)
        return float(np.mean([each.figures.r2 for each in sums]))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go on for one epoch of mini-batches over rows X (n, inputs) and targets y (n,) or (n, outputs).

        The first call fixes columns, their encoding and the scaling; what the descent remembers is carried from call to
        call. ``descent="auto"`` is ``"mini-batch"`` here; a descent by the gradient without a ``batch_size`` takes
        min(200, n); a rate that decays towards zero stays where it began. After ``fit`` it goes on from the weights found.
        Raises ValueError, in a sentence, for a descent that needs all rows at once, and where rows or targets have changed
        their shape. Warns with DescentWarning where the descent diverged; the weights of before are then kept.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any, return_std: bool = False, return_interval: float | None = None) -> Any:
        """ŷ for rows X (n, inputs), in the targets' units: (n,), or (n, outputs) if y had columns.

        return_std: also the standard error of a new row there, its noise included, of the shape of ŷ. return_interval: a
        coverage such as 0.95: also the lower and upper end between which a new row is to be expected with that
        probability, (n, 2), or (n, outputs, 2). What is asked for comes in a tuple, (ŷ, std, interval). The first of these calls
        takes up to twice the time of the fit, whose rows (of a long table 10 000) are kept for it: see the page on intervals.

        Raises NotFittedError before ``fit``, ValueError where columns or values do not fit, where the rows of the fit leave
        nothing to see the noise by, and for intervals after ``partial_fit``. Warns where an interval has no end, and names the
        directions of the weights that the rows leave undetermined.
        """
        if isinstance(X, StreamedTable):
            return self._predict_streamed(X, return_std, return_interval)
        if is_dask(X):
            return self._predict_lazily(X, return_std, return_interval)
        x = self._inputs(X)
        answers = [self._fitted.predict(x)]
        if return_std or return_interval is not None:
            if on_device(x):
                raise SettingsError("intervals are computed by NumPy: pass X as an array that it can read.")
            intervals = self.intervals()
            answers += [intervals.std(x)] if return_std else []
            answers += [] if return_interval is None else [intervals.interval(x, return_interval)]
        return self._as_asked(answers)

    def _predict_lazily(self, X: Any, std: bool, interval: float | None) -> Any:
        """As ``predict``, of a collection of Dask: arrays of Dask, (n,) or (n, outputs), made when somebody asks for them."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        if is_frame(X) and self.columns_ is None and names is None:
            raise TableError("this network was fitted to plain numbers: pass a Dask array, frame.to_dask_array().")
        if is_frame(X) and self.columns_ is not None:
            self.columns_.check(map(str, X.columns))
        elif not is_frame(X) and (X.ndim != 2 or X.shape[1] != self.n_features_in_):
            raise ShapeError(f"X has shape {X.shape}: expected (n, {self.n_features_in_}), as in the fit.")
        shape = () if self._one_dimensional else (self._fitted.network.outputs,)
        known = self.intervals() if std or interval is not None else None
        shapes = [shape, *([shape] if std else []), *([] if interval is None else [(*shape, 2)])]
        answers = lazily(_Answers(self._fitted, self.columns_, known, std, interval, self._one_dimensional), X, shapes)
        return tuple(answers) if len(answers) > 1 else answers[0]

    def _predict_streamed(self, table: StreamedTable, std: bool, interval: float | None) -> Any:
        """As ``predict``, block by block: the answers of all rows are held, and the rows of one block."""
        known = self.intervals() if std or interval is not None else None
        parts: list[list[np.ndarray]] = []
        for x in self._blocks_of_inputs(table):
            found = [self._fitted.predict(x)]
            found += [known.std(x)] if known is not None and std else []
            found += [known.interval(x, interval)] if known is not None and interval is not None else []
            parts.append(found)
        return self._as_asked([np.concatenate(each) for each in zip(*parts, strict=True)])

    def _as_asked(self, answers: list[np.ndarray]) -> Any:
        """The answers in the shape of y, one alone or several in a tuple, with a warning for intervals without an end."""
        if not all(np.isfinite(answer).all() for answer in answers[1:]):
            names = self._fitted.alone().network.weight_names(
                self._fitted.input_names(self._input_names(self.columns_))
            )
            warnings.warn(f"some intervals have no end. {self.intervals().says(names)}", stacklevel=3)
        if self._one_dimensional:
            answers = [answer[:, 0] for answer in answers]
        return tuple(answers) if len(answers) > 1 else answers[0]

    def intervals(self) -> FittedIntervals:
        """How far predictions may be off: standard errors and intervals for encoded rows, in the targets' units.

        Made when it is first asked for. Raises NotFittedError before ``fit``, ValueError after ``partial_fit`` or a ``fit`` to
        rows on a GPU.
        """
        check_is_fitted(self)
        if self._intervals is None:
            raise SettingsError(
                "intervals are read off all rows of a fit, and partial_fit keeps none: call fit, or ask for the prediction alone"
                ". A fit to rows on a GPU keeps none either: fit to NumPy arrays."
            )
        if not isinstance(self._intervals, FittedIntervals):
            self._intervals = self._intervals()
        found: FittedIntervals = self._intervals
        return found

    def _targets(self, y: np.ndarray, known: np.ndarray | None = None) -> _Targets:
        targets = y if on_device(y) else np.asarray(y, np.float64)
        return _Targets(targets[:, None] if y.ndim == 1 else targets, {"_one_dimensional": y.ndim == 1})


class NetworkClassifier(ClassifierMixin, _NetworkEstimator):
    """A neural network that finds the probability of each class by least squares.

    Goes down F = ½ Σ_μ s_μ Σ_j (y_j − ŷ_j)² + ½ · alpha · Σ coef², with y_j = 1 for the row's own class and 0 for the others.
    Σ_j is the Brier score of a row, which the true probabilities make smallest. Two classes share one output, that of the
    second. ``predict_proba`` is the point of the simplex nearest to ŷ.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, default=None
        How often a row of each class counts, {label: weight}, 1 where it is not named; ``"balanced"``: n/(k · rows of the
        class). It multiplies ``sample_weight``, and probabilities become those of a table with such rows.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        ``"auto"``: 10 units, 50 where the fit is too large for Levenberg–Marquardt; combined widths under alpha="evidence".
        With alpha="auto" the mean with logistic regression, unless the networks alone are better on rows left out.
    alpha : float, "auto" or "evidence", default="auto"
        Weight decay, as in ``NetworkRegressor``. ``"auto"``: one of eight from 0.003 to 10, found by the Brier score of rows
        left out (five folds); 0.1 with fewer than 20 rows or early stopping. ``"evidence"`` takes columns of 0 and 1
        for numbers with noise: classes that can be told apart completely leave none.
    output_activation : str, default="logistic"
        f of the outputs. ``"identity"`` leaves them as they are, below 0 and above 1, too.
    scale : bool, default=True
        Whether inputs are standardised inside, and targets centred and divided by one number for all classes (under
        identity outputs): a rare class counts by its rows, and E is the Brier score times a number.
    early_stopping : bool, default=False
        As in ``NetworkRegressor``; every class is spread over the three parts in proportion.
    activation, descent, n_starts, average, max_iter, tol, n_iter_no_change : as in ``NetworkRegressor``
    max_seconds, effort, bias, validation_fraction, test_fraction, warm_start : as in ``NetworkRegressor``
    random_state, n_jobs, verbose, checkpoint : as in ``NetworkRegressor``

    Attributes
    ----------
    classes_ : ndarray (k,), the labels in their order; a column of ``predict_proba`` each
    coefs_ : list of ndarray (inputs, outputs) of each layer, in the user's units; one output for two classes
    all others : as in ``NetworkRegressor``

    Notes
    -----
    Labels may be text, numbers or booleans; each row has one. For several labels a row, put it in scikit-learn's
    ``MultiOutputClassifier``. Data frames may hold text, booleans, dates and missing values, as in ``NetworkRegressor``.

    A probability may be exactly 0, so that the logarithmic score of a row can be infinite; the Brier score is what is
    fitted. ``decision_function`` still ranks rows where probabilities are equal.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fallline import NetworkClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> fit = NetworkClassifier(hidden_layer_sizes=(5,), random_state=0).fit(X, y)
    >>> bool(fit.score(X, y) > 0.97)
    True
    """

    _checks_of_y: ClassVar = {}
    _one_target_scale: ClassVar = True

    def __init__(
        self,
        hidden_layer_sizes: Any = Settings.hidden_layer_sizes,
        activation: str = Settings.activation,
        *,
        descent: Any = "auto",
        alpha: Any = "auto",
        class_weight: Any = None,
        n_starts: Any = Settings.n_starts,
        average: bool = True,
        max_iter: int = Settings.max_iter,
        tol: float = Settings.tol,
        n_iter_no_change: int = Settings.n_iter_no_change,
        max_seconds: float | None = None,
        effort: str = Settings.effort,
        output_activation: str = "logistic",
        bias: bool = True,
        scale: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        checkpoint: Any = None,
    ) -> None:
        store(locals())

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights for rows X (n, inputs) and labels y (n,).

        sample_weight (n,): how often each row counts. Warns with DescentWarning where the descent diverged or was
        interrupted (the lowest-error weights are kept), with ConvergenceWarning where ``max_iter`` or ``max_seconds`` ended it.
        Raises ValueError, in a sentence, for data or settings that do not fit, and where y has a single class.
        """
        if isinstance(X, StreamedTable) or is_dask(X):
            raise SettingsError(
                "classes need their rows in memory: read the table, or a sample of its rows, with read_table, or fit a column of "
                "numbers with NetworkRegressor."
            )
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Go on for one epoch of mini-batches over rows X (n, inputs) and labels y (n,).

        classes (k,): all labels that will ever come, at the first call; later it may be left out. Everything else is as in
        ``NetworkRegressor.partial_fit``. Raises ValueError, in a sentence, for labels that are not among the classes, other
        classes than before, ``class_weight="balanced"``, and a descent that needs all rows at once.
        """
        known = getattr(self, "classes_", None)
        if classes is not None:
            given = _distinct(column_or_1d(classes))
            if known is not None and not np.array_equal(known, given):
                raise SettingsError(
                    f"classes={given.tolist()} are not those of before, {known.tolist()}: leave them out, or call fit to start "
                    "anew."
                )
            known = given
        elif known is None:
            raise SettingsError(
                "partial_fit needs classes=… at its first call: all labels that will ever come, as these rows may lack some."
            )
        if isinstance(self.class_weight, str):
            raise SettingsError(
                f"class_weight={self.class_weight!r} needs all rows at once: give partial_fit a weight for each class, as in "
                "{'yes': 3, 'no': 1}."
            )
        return self._partial_fit(X, y, sample_weight, known)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of rows X (n, inputs), (n,); of equally probable ones the first in ``classes_``.

        Raises NotFittedError before ``fit``, ValueError where columns or values do not fit.
        """
        most = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most])

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class for rows X (n, inputs): (n, k), each row positive or 0 and adding up to 1.

        Raises NotFittedError before ``fit``, ValueError where columns or values do not fit.
        """
        return probabilities(self._predicted(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """The outputs themselves, which may leave [0, 1]: (n, k); for two classes 2ŷ − 1, (n,), positive for the second.

        Raises NotFittedError before ``fit``, ValueError where columns or values do not fit.
        """
        outputs = self._predicted(X)
        return 2 * outputs[:, 0] - 1 if outputs.shape[1] == 1 else outputs

    def _targets(self, y: np.ndarray, known: np.ndarray | None = None) -> _Targets:
        found = _distinct(y)  # first: scikit-learn has no sentence for labels without an order
        check_classification_targets(y)
        classes = found if known is None else known
        if len(classes) < 2:
            raise TableError(
                f"y has one class, {classes.tolist()[0]!r}: there is nothing to tell apart. Give rows of two classes or more."
            )
        before = getattr(self, "classes_", classes)
        if self.warm_start and known is None and not np.array_equal(before, classes):
            raise SettingsError(
                f"warm_start goes on with the classes {self.classes_.tolist()}, but y now has {classes.tolist()}: "
                "set warm_start=False, or give rows of the same classes."
            )
        if strange := [label for label in found.tolist() if label not in classes.tolist()]:
            raise TableError(
                f"y has the label {strange[0]!r}, which is not among the classes {classes.tolist()}: name it in classes=… at the "
                "first call of partial_fit, or call fit to start anew."
            )
        number = np.searchsorted(classes, y)
        return _Targets(one_hot(number, len(classes)), {"classes_": classes}, number)

    def _decided(self, settings: Settings, rows: _Rows, judged: bool) -> Settings:
        return decided(settings, *rows, judged)

    def _row_weights(self, sample_weight: Any, x: np.ndarray, targets: _Targets) -> np.ndarray | None:
        rows = super()._row_weights(sample_weight, x, targets)
        if self.class_weight is None:
            return rows
        rows = np.ones(len(x)) if rows is None else rows
        labels: list[Any] = targets.said["classes_"].tolist()
        number: Any = targets.classes
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            counts = np.bincount(number, rows, len(labels))
            each = np.divide(rows.sum(), len(labels) * counts, out=np.zeros(len(labels)), where=counts > 0)
            return np.asarray(rows * each[number])
        if not isinstance(self.class_weight, Mapping):
            raise SettingsError(
                f"class_weight={self.class_weight!r} is not possible: give 'balanced', None or a weight for each label, as in "
                "{'yes': 3, 'no': 1}."
            )
        given = dict(self.class_weight)
        strange = [label for label in given if label not in labels]
        if strange and not set(labels) <= set(given):
            raise SettingsError(f"class_weight names {strange[0]!r}, but the classes are {labels}.")
        each = np.array([given.get(label, 1.0) for label in labels], np.float64)
        if not (np.isfinite(each).all() and (each >= 0).all()):
            raise SettingsError(f"class_weight={given} is not possible: each weight is a number from 0 up.")
        return np.asarray(rows * each[number])


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """What is predicted of a partition, where it lies."""

    fitted: FittedNetwork
    columns: Columns | None
    intervals: FittedIntervals | None
    std: bool
    interval: float | None
    one_dimensional: bool

    def __call__(self, part: Any) -> list[np.ndarray]:
        if self.columns is None:
            x = np.asarray(part, np.float64)
        else:
            x = self.columns.encode(table_of_part(part, "partition").columns)
        found = [self.fitted.predict(x)]
        if self.intervals is not None:
            found += [self.intervals.std(x)] if self.std else []
            found += [] if self.interval is None else [self.intervals.interval(x, self.interval)]
        return [each[:, 0] for each in found] if self.one_dimensional else found


def _few_of(rows: Streamed) -> Any:
    """So many of the rows, in memory, as say how far predictions may be off."""
    few: Any = enough_rows(rows)  # itself where it has so few
    return few.in_memory() if isinstance(few, Streamed) else few


def _distinct(labels: np.ndarray) -> np.ndarray:
    """The different labels in their order. Raises TableError where they have none."""
    try:
        return np.unique(labels)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        raise TableError(
            f"y mixes labels of the types {', '.join(kinds)}, which have no order: write all of them as text, or all as numbers, "
            "and leave out rows without one."
        ) from None


def _kind_of(descent: Any) -> Any:
    """What must be the same for the memory of a descent to be carried on: its type, or the transformation itself."""
    if isinstance(descent, str):
        return descent
    kind = descent if is_transformation(descent) else type(descent).__name__
    return getattr(descent, "transformation", kind)


def _folded(fitted: FittedNetwork) -> dict[str, Any]:
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


_BAYESIAN = ("effective_weights", "noise_precision")


def _told(path: DescentPath) -> dict[str, Any]:
    """The attributes that say how the descent went."""
    loss = (path.penalised_error / path.n_rows).tolist()
    validation = path.watched.get("validation")
    return {
        "path_": path,
        "alpha_": path.alpha,
        **{f"{name}_": float(path.shown[name][-1]) if name in path.shown else None for name in _BAYESIAN},
        "loss_curve_": loss,
        "best_loss_": path.at_best(path.penalised_error) / path.n_rows,
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
        self, estimator: _NetworkEstimator, context: Any, stored: Callable[..., dict[str, Any]], **given: Any
    ) -> None:
        self._context, self._stored, self._given = context, stored, {"estimator": estimator, **given}
        self._at = (1, 0)  # the start and its step

    def __call__(self, progress: Progress, standing: Callable[[], FittedNetwork]) -> bool:
        if progress.steps == 0 or (progress.start, progress.steps) <= self._at:
            return False  # a pass that was no step
        self._at = (progress.start, progress.steps)
        task, attributes = self._context.subcontext(task_name="step"), lambda: self._stored(standing())
        task.call_on_fit_task_begin(**self._given)
        return bool(task.call_on_fit_task_end(**self._given, reconstruction_attributes=attributes))


def _print_progress(progress: Progress, _: Any) -> None:
    rows = progress.watched_rows
    seen = "".join(f", {name} {error / rows[name]:.6g}" for name, error in progress.watched.items())
    start = f"start {progress.start} of {progress.n_starts}, " if progress.n_starts > 1 else ""
    print(f"{start}step {progress.steps}: E/n = {progress.error / progress.n_rows:.6g}{seen} ({progress.pace})")


def _numbers_without_gaps(table: Table) -> bool:
    return all(
        column.dtype == bool or (column.dtype.kind == "f" and not np.isnan(column).any())
        for column in table.columns.values()
    )
