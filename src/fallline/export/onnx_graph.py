"""The network as an ONNX model, in float64: what ONNX Runtime and others run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fallline.export.program import Program
from fallline.table.encoding import YEAR, Entry, encoded

OPSET, _ML, _IR = 17, 3, 8  # versions that runtimes of the last years know


class Graph:
    """Nodes as they are added, each under a name of its own.

    Its methods are the operations of ONNX that a network needs: they take names of values and give the name of the result.
    """

    def __init__(self, dtype: Any = np.float64) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.dtype = dtype

    def constant(self, value: Any, dtype: Any = None) -> str:
        import onnx

        name = f"c{len(self.constants)}"
        array = np.asarray(value, self.dtype if dtype is None else dtype)
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operation: str, *given: str, outputs: int = 1, domain: str = "", **how: Any) -> Any:
        from onnx import helper

        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operation, list(given), names, domain=domain, **how))
        return names[0] if outputs == 1 else names

    def cast(self, name: str) -> str:
        from onnx import helper

        return self.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))

    def filled(self, name: str, mean: Any) -> tuple[str, str]:
        """Numbers with means where they are missing, and whether they were."""
        gone = self.add("IsNaN", name)
        return self.add("Where", gone, self.constant(mean), name), gone

    def activation(self, f: str, z: str) -> str:
        if f == "identity":
            return z
        if f in ("tanh", "sine"):
            return str(self.add({"tanh": "Tanh", "sine": "Sin"}[f], z))
        if f in ("logistic", "silu"):
            half = self.constant(0.5)
            s = self.add("Add", self.add("Mul", half, self.add("Tanh", self.add("Mul", half, z))), half)
            return s if f == "logistic" else str(self.add("Mul", z, s))
        if f == "gaussian":
            return str(self.add("Exp", self.add("Neg", self.add("Mul", z, z))))
        size = self.add("Abs", z)
        if f == "softsign":
            return str(self.add("Div", z, self.add("Add", self.constant(1.0), size)))
        above = self.add("Mul", self.constant(0.5), self.add("Add", z, size))  # z where it is positive, else 0
        if f == "relu":
            return str(above)
        if f == "softplus":
            bent = self.add("Log", self.add("Add", self.constant(1.0), self.add("Exp", self.add("Neg", size))))
            return str(self.add("Add", above, bent))
        below = self.add("Sub", z, above)
        if f == "leaky_relu":
            return str(self.add("Add", above, self.add("Mul", self.constant(0.01), below)))
        return str(self.add("Add", above, self.add("Sub", self.add("Exp", below), self.constant(1.0))))  # elu


def network_outputs(graph: Graph, program: Program, x: str) -> str:
    """The outputs (n, k) of the network for its inputs (n, d)."""
    a = graph.add("Sub", x, graph.constant(program.centre))
    for layer, (coef, intercept) in enumerate(program.layers):
        z = graph.add("Add", graph.add("MatMul", a, graph.constant(coef)), graph.constant(intercept))
        f, linear = program.activation(layer)
        if linear:
            sizes = graph.constant([coef.shape[1] - linear, linear], np.int64)
            bent, straight = graph.add("Split", z, sizes, outputs=2, axis=1)
            a = graph.add("Concat", graph.activation(f, bent), straight, axis=1)
        else:
            a = graph.activation(f, z)
    return a


def probabilities(graph: Graph, y: str, k: int) -> str:
    """Outputs as probabilities of k classes (n, k): the point of the simplex nearest to them."""
    one, zero = graph.constant(1.0), graph.constant(0.0)
    if k == 2:
        second = graph.add("Min", graph.add("Max", y, zero), one)
        return str(graph.add("Concat", graph.add("Sub", one, second), second, axis=1))
    falling, _ = graph.add("TopK", y, graph.constant([k], np.int64), outputs=2, axis=1)
    sums = graph.add("CumSum", falling, graph.constant(1, np.int64))
    over = graph.add("Div", graph.add("Sub", sums, one), graph.constant(np.arange(1, k + 1)))
    # It rises up to the last positive one and falls beyond. TopK is a maximum in every version of ONNX.
    level, _ = graph.add("TopK", over, graph.constant([1], np.int64), outputs=2, axis=1)
    return str(graph.add("Max", graph.add("Sub", y, level), zero))


def onnx_model(program: Program) -> bytes:
    """The bytes of an ONNX file.

    Where all columns are plain numbers there is one input ``X``, float64 (n, columns), with NaN where a cell is missing; else one
    input (n, 1) for each column, by its name: float64 of numbers, true and false (1, 0) and dates (days since 1970-01-01), text
    of categories, "" where missing. Outputs: ``predicted`` (n, targets), or ``label`` (n,) and ``probabilities`` (n, classes).
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    if program.plain:
        given = [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, len(program.entries)])]
        x, _ = graph.filled("X", [entry["mean"] for entry in program.entries])
    else:
        kinds = [TensorProto.STRING if entry["kind"] == "category" else TensorProto.DOUBLE for entry in program.entries]
        names = [str(entry["name"]) for entry in program.entries]
        given = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in zip(names, kinds, strict=True)]
        x = graph.add(
            "Concat",
            *(_encoded(graph, entry, name) for entry, name in zip(program.entries, names, strict=True)),
            axis=1,
        )
    y = network_outputs(graph, program, x)
    if program.classes:
        p = probabilities(graph, y, len(program.classes))
        place = graph.add("ArgMax", p, axis=1, keepdims=0)
        label = graph.add("Gather", graph.constant(list(program.classes), object), place)
        ends = [("label", label, TensorProto.STRING), ("probabilities", p, TensorProto.DOUBLE)]
    else:
        ends = [("predicted", y, TensorProto.DOUBLE)]
    for name, value, _ in ends:
        graph.nodes.append(helper.make_node("Identity", [value], [name]))
    wide: list[int | None] = [None, len(program.outputs)]
    results = [helper.make_tensor_value_info(name, kind, wide[: 1 if name == "label" else 2]) for name, _, kind in ends]
    about = " ".join((f"A network fitted by fallline: {program.name}.", *program.about))
    whole = helper.make_graph(graph.nodes, "fallline", given, results, graph.constants, doc_string=about)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", _ML)]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=_IR, producer_name="fallline")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _encoded(graph: Graph, entry: Entry, name: str) -> str:
    """The inputs (n, w) that a column (n, 1) becomes."""
    kind = entry["kind"]
    if kind == "category":
        return _category(graph, entry, name)
    if kind == "date":
        parts, gone = _date(graph, entry, name)
    else:
        value, gone = graph.filled(name, entry["mean"])
        parts = [value]
    parts += [graph.cast(gone)] if entry["missing"] else []
    return parts[0] if len(parts) == 1 else str(graph.add("Concat", *parts, axis=1))


def _marks(graph: Graph, name: str, texts: Sequence[str]) -> str:
    """1 where a text is the one, (n, m)."""
    marks = graph.add("OneHotEncoder", name, domain="ai.onnx.ml", cats_strings=list(texts), zeros=1)
    flat = graph.add("Reshape", marks, graph.constant([-1, len(texts)], np.int64))
    return graph.cast(flat)


def _category(graph: Graph, entry: Entry, name: str) -> str:
    marks = _marks(graph, name, entry["categories"])
    one = graph.constant(1.0)
    axis = graph.constant([1], np.int64)
    none = graph.add("Sub", one, graph.add("ReduceSum", marks, axis, keepdims=1))
    if "share" in entry:
        second = graph.add("Slice", marks, axis, graph.constant([2], np.int64), axis)
        return str(graph.add("Add", second, graph.add("Mul", none, graph.constant(entry["share"]))))
    gone = _marks(graph, name, [""])
    parts = [marks] + [graph.add("Sub", none, gone)] * entry["other"] + [gone] * entry["missing"]
    return str(graph.add("Concat", *parts, axis=1)) if len(parts) > 1 else marks


def _date(graph: Graph, entry: Entry, name: str) -> tuple[list[str], str]:
    days, gone = graph.filled(name, entry["mean"])
    there = graph.cast(graph.add("Not", gone))
    parts = [graph.add("Sub", days, graph.constant(entry["origin"]))]
    turns: tuple[list[str], ...] = [days] * entry["year"], []
    if entry["clock"]:
        turns[1].append(graph.add("Sub", days, graph.add("Floor", days)))
    cycles: tuple[list[str], list[str]] = [], []
    for found, of, length in zip(cycles, turns, (YEAR, 1.0), strict=True):
        for turn in of:
            angle = graph.add("Mul", turn, graph.constant(2 * np.pi / length))
            found += [graph.add("Sin", angle), graph.add("Cos", angle)]
    if entry["weekdays"]:
        seven = graph.constant(7.0)
        since = graph.add("Add", graph.add("Floor", days), graph.constant(3.0))
        weekday = graph.add("Sub", since, graph.add("Mul", seven, graph.add("Floor", graph.add("Div", since, seven))))
    weekdays = [graph.cast(graph.add("Equal", weekday, graph.constant(float(day)))) for day in entry["weekdays"]]
    # A missing date stands in the middle of every cycle.
    parts += [str(graph.add("Mul", part, there)) for part in (*cycles[0], *weekdays, *cycles[1])]
    assert len(parts) + bool(entry["missing"]) == len(encoded(entry))
    return parts, gone


def register_skl2onnx() -> None:
    """Let skl2onnx convert NetworkRegressor and NetworkClassifier, alone or in a pipeline, where they were fitted on arrays."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    from fallline.estimators.network import NetworkClassifier, NetworkRegressor

    def shapes(operator: Any) -> None:
        n = operator.inputs[0].get_first_dimension()
        fitted = operator.raw_operator
        if isinstance(fitted, NetworkClassifier):
            kind = StringTensorType if fitted.classes_.dtype.kind in "OUS" else Int64TensorType
            operator.outputs[0].type = kind([n])
            operator.outputs[1].type = FloatTensorType([n, len(fitted.classes_)])
        else:
            operator.outputs[0].type = type(operator.inputs[0].type)([n, fitted._fitted.network.outputs])

    def convert(scope: Any, operator: Any, container: Any) -> None:
        _convert(scope, operator, container)

    for kind, options in ((NetworkRegressor, None), (NetworkClassifier, {"zipmap": [False], "nocl": [False]})):
        update_registered_converter(kind, f"Fallline{kind.__name__}", shapes, convert, options=options)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator to the graph that skl2onnx builds."""
    from skl2onnx.common.data_types import DoubleTensorType

    from fallline.export.program import program_of

    fitted = operator.raw_operator
    program = program_of(fitted)
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    graph = Graph()
    given = graph.cast(operator.inputs[0].full_name)  # computed in float64, whatever comes in
    y = network_outputs(graph, program, given)
    if program.classes:
        p = probabilities(graph, y, len(program.classes))
        place = graph.add("ArgMax", p, axis=1, keepdims=0)
        kind = object if fitted.classes_.dtype.kind in "OUS" else np.int64
        ends = [graph.add("Gather", graph.constant(list(fitted.classes_), kind), place), _as_float(graph, p)]
    else:
        ends = [y if double else _as_float(graph, y)]
    names = {name: scope.get_unique_variable_name(name) for node in graph.nodes for name in node.output}
    names |= {constant.name: scope.get_unique_variable_name(constant.name) for constant in graph.constants}
    for constant in graph.constants:
        constant.name = names[constant.name]
        container.initializers.append(constant)
    for node in graph.nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        node.name = scope.get_unique_operator_name(node.op_type)
        container.nodes.append(node)
        container.node_domain_version_pair_sets.add((node.domain, OPSET if not node.domain else _ML))
    for end, variable in zip(ends, operator.outputs, strict=True):
        container.add_node(
            "Identity", [names[end]], [variable.full_name], name=scope.get_unique_operator_name("Identity")
        )


def _as_float(graph: Graph, name: str) -> str:
    from onnx import TensorProto

    return str(graph.add("Cast", name, to=TensorProto.FLOAT))
