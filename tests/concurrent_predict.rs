//! A process of its own, since it fills the machine and is timed: many threads ask one predictor at once, and each gets to
//! the bit what it would get alone.

use foldgrad::data::silhouettes;
use foldgrad::exec::{Options, Predictor};
use foldgrad::train::{Examples, Fit, Loss, Sgd, Trainer};
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{DType, Tensor};
use std::time::Instant;

const THREADS: usize = 16;
const CALLS: usize = 10_000;
const IMAGES: usize = 64;

fn predictor(threads: usize) -> Predictor {
    let (train, _) = silhouettes::generate(silhouettes::SEED, 640, 1);
    let mut trainer =
        Trainer::new(tutorial(BatchNorm::Before).unwrap(), Sgd::new(0.02), Loss::SparseCategoricalCrossentropy)
            .seed(3)
            .compile()
            .unwrap();
    trainer.fit(&Examples::try_from(&train).unwrap(), &Fit::new().silent()).unwrap();
    trainer.fold().unwrap().predictor(&Options::default().threads(threads)).unwrap()
}

/// Batches of that size, each beginning at another image.
fn batches(size: usize) -> Vec<Tensor> {
    let (_, test) = silhouettes::generate(silhouettes::SEED, 1, IMAGES + size);
    let pixels: Vec<f32> = test.images().iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let batch = |at: usize| Tensor::new([size, 28, 28], pixels[at * 784..(at + size) * 784].to_vec()).unwrap();
    (0..IMAGES).map(batch).collect()
}

fn bits(output: &Tensor) -> Vec<u32> {
    output.as_slice::<f32>().unwrap().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn sixteen_threads_get_what_each_would_get_alone() {
    for threads in [1, 4] {
        let predictor = predictor(threads);
        let sizes: Vec<(usize, Vec<Tensor>, Vec<Vec<u32>>)> = [1, 3, 32]
            .into_iter()
            .map(|size| {
                let batches = batches(size);
                let alone = batches.iter().map(|batch| bits(&predictor.predict(&[batch]).unwrap()[0])).collect();
                (size, batches, alone)
            })
            .collect();
        // Answers that were all alike would agree by any mistake.
        assert!(sizes[0].2.windows(2).all(|pair| pair[0] != pair[1]));
        let started = Instant::now();
        // Each number of the options bears half of the calls.
        let calls = CALLS / 2;
        let ask = |thread: usize| {
            let mut outputs: Vec<[Tensor; 1]> =
                sizes.iter().map(|(size, ..)| [Tensor::zeros(DType::F32, [*size, 10])]).collect();
            let mut wrong = 0;
            for call in 0..calls {
                let at = (call * 7 + thread * 13) % IMAGES;
                // One call in 64 is of 3 rows, and one of 32.
                let which = if call % 64 == thread {
                    1
                } else if call % 64 == thread + 32 {
                    2
                } else {
                    0
                };
                let (_, batches, alone) = &sizes[which];
                predictor.predict_into(&[&batches[at]], &mut outputs[which]).unwrap();
                wrong += usize::from(bits(&outputs[which][0]) != alone[at]);
            }
            wrong
        };
        let ask = &ask;
        let wrong: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || ask(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let seconds = started.elapsed().as_secs_f64();
        println!("{} calls in {seconds:.1} s, plans for {threads} threads", THREADS * calls);
        assert_eq!(wrong, 0, "of {} answers", THREADS * calls);
        assert!(seconds < 60.0, "{seconds} s");
    }
}
