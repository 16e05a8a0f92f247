"""Large weights of an ONNX file stored in half precision and widened when the file is opened.

The engines compute the widening once while loading, so the file is half as large and the speed is the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SMALLEST = 1024  # values; below it a file gains nothing
_LARGEST_HALF = 65504.0


def halve_weights(model: onnx.ModelProto) -> None:
    """Store float32 weights of two or more axes as float16, each followed by a cast; changes the model in place."""
    kept: list[onnx.TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < _SMALLEST:
            kept.append(tensor)
            continue
        if np.abs(values).max() > _LARGEST_HALF:
            kept.append(tensor)
            continue
        half = f"{tensor.name}_half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [tensor.name], name=f"widen_{tensor.name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:]
    del model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
