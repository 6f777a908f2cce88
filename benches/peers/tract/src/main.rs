//! tract as a side of `foldgrad bench inference`: reads the ONNX file of `--file`, answers `run N` (see benches/README.md).

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

fn flag(name: &str) -> Result<String, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).ok_or_else(|| format!("{name} is missing"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (batch, threads): (usize, usize) = (flag("--batch")?.parse()?, flag("--threads")?.parse()?);
    set_default_executor(if threads == 1 { Executor::SingleThread } else { Executor::multithread(threads) });
    let shape = [batch, 28, 28];
    let model = tract_onnx::onnx().model_for_path(flag("--file")?)?;
    let model = model.with_input_fact(0, f32::fact(shape).into())?.into_optimized()?.into_runnable()?;
    let pixels: Vec<f32> = (0..batch * 784).map(|at| (at % 256) as f32 / 255.0).collect();
    let input: TValue = Tensor::from_shape(&shape, &pixels)?.into();
    let mut state = model.spawn()?;
    println!("ready {{\"version\": \"tract 0.23.9\"}}");
    for line in std::io::stdin().lock().lines() {
        let steps: u64 = line?.trim_start_matches("run ").trim().parse()?;
        let started = Instant::now();
        for _ in 0..steps {
            state.run(tvec!(input.clone()))?;
        }
        println!("done {} {steps}", started.elapsed().as_secs_f64());
    }
    Ok(())
}
