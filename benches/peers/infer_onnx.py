"""Inference of an ONNX file: `--mode onnxruntime-…` or `--mode openvino-…`; what follows the hyphen names the file."""

import side

options = side.arguments()

import numpy as np

rows = side.scaled(side.pixels(options.batch, options.inputs))

if options.mode.startswith("onnxruntime"):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.file, settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    feed = {entry.name: rows.reshape([options.batch, *entry.shape[1:]])}

    def run(steps):
        for _ in range(steps):
            output = session.run(None, feed)[0]
        return steps, output.ravel()[0]

    version = f"onnxruntime {onnxruntime.__version__}"
else:
    import openvino

    core = openvino.Core()
    model = core.read_model(options.file)
    entry = model.inputs[0]
    sizes = [options.batch] + [size.get_length() for size in list(entry.partial_shape)[1:]]
    model.reshape(sizes)
    hints = {
        "INFERENCE_NUM_THREADS": options.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    data = rows.reshape(sizes)

    def run(steps):
        for _ in range(steps):
            output = request.infer([data], share_inputs=True, share_outputs=True)
        return steps, output[0].ravel()[0]

    version = f"openvino {openvino.__version__}"

side.serve({"version": version}, run)
