"""Runs fused and declared exports of one network in ONNX Runtime on the test images, against the declared one in f64.

usage: check_fused.py FOLDER [DIRECTORY OF FASHION-MNIST]

FOLDER holds NAME.fused.onnx and NAME.declared.onnx for each network. Without the images, random ones are drawn.
"""

import gzip
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

PRODUCTS = {"Gemm", "MatMul"}


def images(directory):
    if directory is None:
        return np.random.default_rng(0).uniform(size=(10_000, 28, 28)).astype(np.float32)
    for name, read in [("t10k-images-idx3-ubyte.gz", gzip.open), ("t10k-images-idx3-ubyte", open)]:
        path = Path(directory) / name
        if path.exists():
            with read(path, "rb") as file:
                data = np.frombuffer(file.read(), np.uint8, offset=16)
            return data.reshape(-1, 28, 28).astype(np.float32) / np.float32(255)
    raise SystemExit(f"there are no test images in {directory}")


def widened(model):
    """The same model in double precision: its weights are exact, its arithmetic nearly so."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in list(wide.graph.input) + list(wide.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del wide.graph.value_info[:]
    return wide


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def main():
    folder = Path(sys.argv[1])
    x = images(sys.argv[2] if len(sys.argv) > 2 else None)
    files = sorted(folder.glob("*.fused.onnx"))
    assert files, f"there are no exports in {folder}"
    print(f"{len(x)} images; distance from f64: largest, root of mean square")
    for path in files:
        name = path.name.removesuffix(".fused.onnx")
        declared_path = folder / f"{name}.declared.onnx"
        for file in (path, declared_path):
            onnx.checker.check_model(str(file), full_check=True)
        fused, declared = onnx.load(path), onnx.load(declared_path)
        ops = Counter(node.op_type for node in fused.graph.node)
        products = sum(count for op, count in ops.items() if op in PRODUCTS)
        assert "BatchNormalization" not in ops and not {"Mul", "Sub", "Div"} & set(ops), (name, ops)
        assert products == (3 if name.startswith("notebook") else 4), (name, ops)
        truth = run(widened(declared), x.astype(np.float64))
        ours, theirs = run(fused, x), run(declared, x)
        difference = np.abs(ours - theirs).max()
        agreeing = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        error = {"fused": ours - truth, "declared": theirs - truth}
        figures = {key: (np.abs(value).max(), np.sqrt((value**2).mean())) for key, value in error.items()}
        text = "  ".join(f"{key} {far:.1e} {rms:.2e}" for key, (far, rms) in figures.items())
        print(f"{name:22} {sum(ops.values()):2} operators  {agreeing} equal classes  within {difference:.1e}  {text}")
        assert agreeing == len(x) and difference <= 1e-5, name
        # Rounding is chance in each output; over 100,000 of them, folding must not add to it.
        assert figures["fused"][1] <= 1.05 * figures["declared"][1], name


main()
