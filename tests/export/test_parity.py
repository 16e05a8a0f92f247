import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from passerby.errors import CheckpointError
from passerby.export.half_storage import halve_weights
from passerby.export.parity import compare

RNG = np.random.default_rng(0)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def original(batch):
    return unit(batch @ np.eye(6, 4) + 0.1)


BATCHES = [RNG.normal(size=(count, 6)) for count in (1, 2, 7)]


def test_the_same_function_agrees_everywhere():
    parity = compare("image", original, original, BATCHES)
    assert (parity.rows, parity.max_difference, parity.top10) == (10, 0.0, 1.0)
    assert parity.cosine == pytest.approx(1.0)


def test_the_figures_equal_a_loop():
    def exported(batch):
        return unit(original(batch) + 1e-3 * np.sin(1e4 * batch[:, :4]))

    parity = compare("text", original, exported, BATCHES, lowest_cosine=0.99)
    first = np.concatenate([original(batch) for batch in BATCHES])
    second = np.concatenate([exported(batch) for batch in BATCHES])
    assert parity.cosine == pytest.approx(min(float(a @ b) for a, b in zip(first, second, strict=True)))
    assert parity.max_difference == pytest.approx(max(abs(a - b) for a, b in zip(first.flat, second.flat, strict=True)))
    shared = []
    for row in range(10):
        near = [
            set(
                sorted(
                    (other for other in range(10) if other != row), key=lambda other: -vectors[row] @ vectors[other]
                )[:9]
            )
            for vectors in (first, second)
        ]
        shared.append(len(near[0] & near[1]) / 9)
    assert parity.top10 == pytest.approx(np.mean(shared))


@pytest.mark.parametrize(
    ("exported", "words"),
    [
        (lambda batch: unit(original(batch) + 0.05), r"smallest cosine 0\.9.*at least 0\.9999"),
        (lambda batch: original(batch)[:, :3], "gives"),
        (lambda batch: original(batch)[:1], "gives"),
        (lambda batch: original(batch) * np.nan, "not finite"),
        (lambda batch: original(batch.reshape(1, 6)), r"cannot compute an input of \(2, 6\)"),
    ],
)
def test_a_tower_that_differs_is_refused(exported, words):
    with pytest.raises(CheckpointError, match=words):
        compare("image", original, exported, BATCHES)


def linear_graph(weights):
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", weights.shape[0]])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", weights.shape[1]])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def test_halving_keeps_the_function_and_float_outputs():
    import onnxruntime

    weights = RNG.normal(size=(64, 32)).astype(np.float32)
    model = linear_graph(weights)
    before = len(model.SerializeToString())
    halve_weights(model)
    onnx.checker.check_model(model)
    assert len(model.SerializeToString()) < 0.6 * before
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    result = session.run(None, {"x": x})[0]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, x @ weights.astype(np.float16).astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weights", [np.full((64, 32), 1e6, np.float32), np.ones((4, 4), np.float32)])
def test_what_is_too_large_or_too_small_stays(weights):
    model = linear_graph(weights)
    halve_weights(model)
    assert [tensor.data_type for tensor in model.graph.initializer] == [TensorProto.FLOAT]
