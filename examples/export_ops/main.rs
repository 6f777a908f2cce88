//! Writes ONNX files with inputs and expected outputs, so that other runtimes can run them: `export_ops DIRECTORY`.
//!
//! ```text
//! NAME.onnx           each case of each op in f32 and f64, small graphs with symbolic sizes, the tutorial's networks
//! runs.safetensors    NAME/RUN/input/… and NAME/RUN/output/…: what each run is fed with and should give
//! refused.txt         the cases without an export, and why
//! ```
//!
//! `.ci/check_onnx.py` checks and runs them in ONNX Runtime.

mod instances;
mod networks;

use foldgrad::interchange::onnx::{self, ExportOptions, OnnxError};
use foldgrad::interchange::safetensors::{self, Metadata};
use foldgrad::ir::Weights;
use foldgrad::{DType, Tensor};
use instances::Instance;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Writes a model and takes down its runs; what it says, if it has no export.
fn export(directory: &Path, instance: &Instance, runs: &mut Weights) -> Result<Option<String>, Box<dyn Error>> {
    let bytes = match onnx::to_bytes(&instance.graph, &instance.weights, &ExportOptions::new()) {
        Ok(bytes) => bytes,
        Err(OnnxError::Unsupported(unsupported)) => return Ok(Some(unsupported[0].to_string())),
        Err(other) => return Err(other.into()),
    };
    std::fs::write(directory.join(format!("{}.onnx", instance.name)), bytes)?;
    take_down(instance, runs);
    Ok(None)
}

fn take_down(instance: &Instance, runs: &mut Weights) {
    for (run, (feeds, expected)) in instance.runs.iter().enumerate() {
        for (kind, values) in [("input", feeds), ("output", expected)] {
            let named =
                |(name, tensor): (&String, &Tensor)| (format!("{}/{run}/{kind}/{name}", instance.name), tensor.clone());
            runs.extend(values.iter().map(named));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: export_ops DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    let (mut written, mut refused, mut runs) = (0, Vec::new(), Weights::new());
    for dtype in [DType::F32, DType::F64] {
        let networks =
            networks::symbolic(dtype).into_iter().chain(networks::edges(dtype)).chain(networks::tutorials(dtype));
        for instance in instances::all(dtype).into_iter().chain(networks) {
            match export(&directory, &instance, &mut runs)? {
                None => written += 1,
                Some(why) => refused.push(format!("{} {}: {why}\n", instance.op, instance.name)),
            }
        }
    }
    for mut instance in networks::tutorials(DType::F32) {
        instance.name += "_external";
        let path = directory.join(format!("{}.onnx", instance.name));
        let options = ExportOptions::new().external_data_above(0);
        onnx::save(path, &instance.graph, &instance.weights, &options)?;
        take_down(&instance, &mut runs);
        written += 1;
    }
    safetensors::save(directory.join("runs.safetensors"), &runs, &Metadata::new())?;
    std::fs::write(directory.join("refused.txt"), refused.concat())?;
    println!("{written} models written to {}, {} cases refused", directory.display(), refused.len());
    Ok(())
}
