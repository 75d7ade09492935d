"""An ONNX model from a description and its weights."""

from __future__ import annotations

from onnx import TensorProto, checker, helper, shape_inference

from .._description.rows import Entries, Layer, parsed
from .._typing import Named
from .._version import __version__
from .graph import Arrays, Graph, add_row

OPSET, IR_VERSION = 21, 10  # of ONNX 1.16


def export(
    description: list[Entries], sample: list[int], parameters: Named, statistics: Named
) -> bytes:
    """Return the bytes of an ONNX file.

    Args:
        description: the layers.
        sample: the shape of a sample, as fedflux has it.
        parameters: the parameters of the Flux model, in its order.
        statistics: its running statistics, in its order.

    Returns:
        A model from `x`, (n, ...), to `logits`.

    Raises:
        FedFluxError: a layer that ONNX does not have.
    """
    row, graph = parsed(description), Graph()
    first = row[0].kind if isinstance(row[0], Layer) else ""
    shape: list[int | str] = ["n", *(sample[1:] if first == "as_sequence" else sample)]
    if first == "embedding":
        shape[1:] = ["length"]
    arrays = Arrays([*parameters.values()], [*statistics.values()])
    output = add_row(graph, row, "x", arrays)
    graph.nodes.append(helper.make_node("Identity", [output], ["logits"]))
    kind = TensorProto.INT64 if first == "embedding" else TensorProto.FLOAT
    made = helper.make_graph(
        graph.nodes,
        "fedflux",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        graph.weights,
    )
    model = helper.make_model(
        made,
        producer_name="fedflux",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    model = shape_inference.infer_shapes(model, strict_mode=True)  # of the logits too
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
