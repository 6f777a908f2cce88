"""Runs in ONNX Runtime what `cargo run --example export_ops -- DIRECTORY` wrote.

usage: check_onnx.py DIRECTORY

Each model must pass ONNX's own checker with full shape inference, and each of its runs must give what is expected: f32
to 1e-5 and f64 to 1e-12 of the largest entry, integers and masks exactly. Where ONNX Runtime has no kernel, and the op is
listed here, ONNX's reference evaluator runs the model instead. The exit code is 1 if anything is wrong.
"""

import collections
import math
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from safetensors.numpy import load_file

ALLOWED = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}



class Erf(OpRun):
    """The evaluator's own rounds to float32."""

    op_domain = ""

    def _run(self, x):
        return (np.array([math.erf(value) for value in x.flat], dtype=x.dtype).reshape(x.shape),)


# Ops of ONNX without a kernel for float64 in ONNX Runtime.
NO_KERNEL = {"Erf"}


def session(path):
    """A function from feeds to outputs, and who computes it."""
    try:
        runtime = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return "ONNX Runtime", lambda feeds: runtime.run(None, feeds), [output.name for output in runtime.get_outputs()]
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        model = onnx.load(path)
        doubles = any(value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE for value in model.graph.output)
        if not doubles or not NO_KERNEL & {node.op_type for node in model.graph.node}:
            raise
        evaluator = ReferenceEvaluator(model, new_ops=[Erf])
        return "reference", lambda feeds: evaluator.run(None, feeds), [output.name for output in model.graph.output]


def difference(found, expected):
    """The largest difference relative to the largest finite entry; infinite where type, shape or NaNs differ."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if found.dtype not in ALLOWED:
        return 0.0 if np.array_equal(found, expected) else float("inf")
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    if same.all():
        return 0.0
    finite = np.abs(expected[np.isfinite(expected)])
    # Operands are numbers around 1: that they are rounded moves a result by so much, however small it is itself.
    scale = max(finite.max() if finite.size else 0.0, 0.1)
    with np.errstate(invalid="ignore"):
        worst = (np.abs(found - expected) / scale)[~same].max()
    return float(worst) if worst == worst else float("inf")


def runs_of(directory):
    """For each model, for each run, the inputs and the outputs by name."""
    models = collections.defaultdict(lambda: collections.defaultdict(lambda: {"input": {}, "output": {}}))
    for key, tensor in load_file(directory / "runs.safetensors").items():
        model, run, kind, name = key.split("/", 3)
        models[model][int(run)][kind][name] = tensor
    return models


def main(directory):
    warnings.simplefilter("ignore")
    onnxruntime.set_default_logger_severity(3)
    models = runs_of(directory)
    paths = sorted(directory.glob("*.onnx"))
    wrong, runs, by, worst = [], 0, collections.Counter(), collections.defaultdict(float)
    for path in paths:
        try:
            onnx.checker.check_model(str(path), full_check=True)
            who, run, names = session(str(path))
            by[who] += 1
            for values in models[path.stem].values():
                runs += 1
                outputs = dict(zip(names, run(values["input"])))
                assert outputs.keys() == values["output"].keys(), f"the outputs are {list(outputs)}"
                for name, expected in values["output"].items():
                    found = np.asarray(outputs[name])
                    here = difference(found, expected)
                    kind = "f32" if path.stem.endswith(("f32", "f32_external")) else "f64"
                    # A model is as exact as the type it computes in, whatever it is converted to at its end.
                    allowed = 1e-5 if kind == "f32" else 1e-12
                    if not here <= allowed:
                        wrong.append(f"{path.stem}: {name} differs by {here:.1e}: found {found!r}, expected {expected!r}")
                    elif found.dtype in ALLOWED:
                        worst[kind] = max(worst[kind], here)
        except Exception as error:  # Every model is tried, and every failure listed.
            wrong.append(f"{path.stem}: {str(error).splitlines()[0]}")
    print(f"{len(paths)} models, {runs} runs: {dict(by)}; worst differences {dict(worst)}")
    missing = models.keys() - {path.stem for path in paths}
    wrong += [f"{name}: the model is missing" for name in sorted(missing)]
    for line in wrong:
        print("WRONG", line)
    return 1 if wrong or runs < len(paths) or len(paths) < 4000 else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
