//! Files of other tools, written and read.

mod onnx;
mod safetensors;
