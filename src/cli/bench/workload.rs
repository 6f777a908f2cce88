//! What is trained or compiled: a network of the zoo by name and sizes, a batch size, and examples.
//!
//! The same flags are given to every side, ours and the peers', so the flags are the whole of the agreement.

use super::CommandError;
use crate::Tensor;
use crate::nn::Model;
use crate::random::{GAMMA, mix};
use crate::train::{Examples, Loss, Samples, Sgd, Trainer};
use crate::zoo::{self, BatchNorm};
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Name {
    Tutorial,
    Deep,
    Residual,
    SelfNormalising,
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub(super) struct Workload {
    #[arg(long, value_enum, default_value_t = Name::Tutorial)]
    pub network: Name,
    /// Of the tutorial network always 784.
    #[arg(long, default_value_t = 784, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    pub inputs: u64,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 16))]
    pub depth: u64,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 16))]
    pub width: u64,
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    pub batch: u64,
    /// Made up anew by each side, the same everywhere; a multiple of the batch.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub examples: u64,
    #[arg(long, default_value_t = 0.01)]
    pub learning_rate: f64,
    #[arg(long, default_value_t = 0.9)]
    pub momentum: f64,
}

// Seeds: of what a class looks like, what an example adds, which class it is, and whether that is told right.
const CLASS: u64 = 1;
const EXAMPLE: u64 = 2;
const LABEL: u64 = 3;
const NOISE: u64 = 4;
const CLASSES: u64 = 10;

/// The random word of that position in the stream of that seed.
fn word(seed: u64, position: u64) -> u64 {
    mix((seed << 40).wrapping_add((position + 1).wrapping_mul(GAMMA)))
}

impl Workload {
    /// The tutorial network over whole batches of 60,000 examples.
    pub fn tutorial(batch: u64) -> Workload {
        let examples = 60_000 / batch * batch;
        Workload {
            network: Name::Tutorial,
            inputs: 784,
            depth: 3,
            width: 300,
            batch,
            examples,
            learning_rate: 0.01,
            momentum: 0.9,
        }
    }

    /// The flags that say all this.
    pub fn arguments(&self) -> Vec<String> {
        let network = self.network.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let Workload { inputs, depth, width, batch, examples, learning_rate, momentum, .. } = self;
        let sizes = [("inputs", inputs), ("depth", depth), ("width", width), ("batch", batch), ("examples", examples)];
        let rates = [("learning-rate", learning_rate), ("momentum", momentum)];
        let sizes = sizes.into_iter().map(|(name, value)| (name, value.to_string()));
        let all = sizes.chain(rates.into_iter().map(|(name, value)| (name, value.to_string())));
        [("network", network)].into_iter().chain(all).flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }

    pub fn model(&self) -> Result<Model, CommandError> {
        let (inputs, depth, width) = (self.inputs as usize, self.depth as usize, self.width as usize);
        Ok(match self.network {
            Name::Tutorial => zoo::tutorial(BatchNorm::Before)?,
            Name::Deep => zoo::deep(inputs, depth, width)?,
            Name::Residual => zoo::residual(inputs, depth, width)?,
            Name::SelfNormalising => zoo::self_normalising(inputs, depth, width)?,
            Name::Plain => zoo::plain(inputs, depth, width)?,
        })
    }

    pub fn trainer(&self) -> Result<Trainer, CommandError> {
        let mut optimizer = Sgd::new(self.learning_rate);
        if self.momentum != 0.0 {
            optimizer = optimizer.momentum(self.momentum).nesterov();
        }
        Ok(Trainer::new(self.model()?, optimizer, Loss::SparseCategoricalCrossentropy).compile()?)
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.examples.div_ceil(self.batch)
    }

    /// The shape of one example.
    fn shape(&self) -> Vec<usize> {
        if self.network == Name::Tutorial { vec![28, 28] } else { vec![self.inputs as usize] }
    }

    /// Pixels of examples `0..count`: half the class's picture, half noise of their own.
    pub fn pixels(&self, count: u64) -> Vec<u8> {
        let each = self.inputs as usize;
        let words = self.inputs.div_ceil(8);
        let row = |seed: u64, row: u64| -> Vec<u8> {
            let mut bytes: Vec<u8> = (0..words).flat_map(|at| word(seed, row * words + at).to_le_bytes()).collect();
            bytes.truncate(each);
            bytes
        };
        let classes: Vec<Vec<u8>> = (0..CLASSES).map(|class| row(CLASS, class)).collect();
        let mut pixels = Vec::with_capacity(each * count as usize);
        for example in 0..count {
            let class = &classes[(word(LABEL, example) % CLASSES) as usize];
            pixels.extend(row(EXAMPLE, example).iter().zip(class).map(|(&a, &b)| a / 2 + b / 2));
        }
        pixels
    }

    /// Classes of examples `0..count`; one in eight is wrong, so that no network can learn them all and stop.
    fn labels(&self, count: u64) -> Vec<i32> {
        let label = |example: u64| {
            let noise = word(NOISE, example);
            (if noise.is_multiple_of(8) { (noise >> 32) % CLASSES } else { word(LABEL, example) % CLASSES }) as i32
        };
        (0..count).map(label).collect()
    }

    pub fn data(&self) -> Result<Examples, CommandError> {
        let pixels = Samples::bytes(self.pixels(self.examples), &self.shape(), 255.0)?;
        Ok(Examples::new(pixels, Samples::new(Tensor::vector(self.labels(self.examples)))?)?)
    }

    /// The first batch of the examples, as the network's input.
    pub fn input(&self) -> Result<Tensor, CommandError> {
        let values = self.pixels(self.batch).into_iter().map(|pixel| f32::from(pixel) / 255.0).collect::<Vec<f32>>();
        let shape: Vec<usize> = std::iter::once(self.batch as usize).chain(self.shape()).collect();
        Ok(Tensor::new(shape, values)?)
    }
}
