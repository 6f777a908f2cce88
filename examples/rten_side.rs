//! rten as a side of `foldgrad bench inference`: reads the ONNX file of `--file`, answers `run N` (see benches/README.md).

use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;

fn flag(name: &str) -> Result<String, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).ok_or_else(|| format!("{name} is missing"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (batch, threads): (usize, usize) = (flag("--batch")?.parse()?, flag("--threads")?.parse()?);
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(flag("--file")?)?;
    let pixels = (0..batch * 784).map(|at| (at % 256) as f32 / 255.0).collect::<Vec<f32>>();
    let input = NdTensor::from_data([batch, 28, 28], pixels);
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads))));
    println!("ready {{\"version\": \"rten 0.27\"}}");
    for line in std::io::stdin().lock().lines() {
        let steps: u64 = line?.trim_start_matches("run ").trim().parse()?;
        let started = Instant::now();
        for _ in 0..steps {
            model.run_one(input.view().into(), Some(options.clone()))?;
        }
        println!("done {} {steps}", started.elapsed().as_secs_f64());
    }
    Ok(())
}
