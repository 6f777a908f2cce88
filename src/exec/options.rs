//! With how many threads and which instruction set an executable runs.

use crate::kernel::Level;
use crate::plan::Costs;

/// The settings of an [`Executable`](super::Executable).
///
/// Results are the same to the bit for any number of threads. Instruction sets differ in the last digits, as sums take
/// other forms.
///
/// ```
/// use foldgrad::exec::{InstructionSet, MOST_THREADS, Options};
/// let options = Options::default().threads(2).instructions(InstructionSet::Avx2);
/// assert_eq!((options.thread_count(), options.instruction_set()), (2, InstructionSet::Avx2));
/// assert_eq!(options.threads(0).thread_count(), 1);
/// assert_eq!(options.threads(100_000).thread_count(), MOST_THREADS);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Options {
    threads: usize,
    instructions: InstructionSet,
    holds_state: bool,
    costs: Costs,
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionSet {
    /// The widest that the machine has.
    #[default]
    Widest,
    /// AVX2 with fused multiply-add; where the machine lacks it, the baseline.
    Avx2,
    /// What every machine of the architecture has.
    Baseline,
}

/// The most threads that share a run, whatever the [`Options`] say: more do not help at the sizes that a cache holds.
pub const MOST_THREADS: usize = 64;

impl Options {
    /// Threads that share a run, the calling one among them; 0 counts as 1, and more than [`MOST_THREADS`] as that many.
    /// By default as many as the machine runs at once, or what the environment variable `FOLDGRAD_THREADS` says.
    pub fn threads(mut self, threads: usize) -> Options {
        self.threads = threads.clamp(1, MOST_THREADS);
        self
    }

    /// The instruction set of the kernels; `FOLDGRAD_INSTRUCTIONS` (`widest`, `avx2`, `baseline`) by default.
    pub fn instructions(mut self, instructions: InstructionSet) -> Options {
        self.instructions = instructions;
        self
    }

    /// Whether the executable is meant to hold its state between runs (see [`hold`](super::Executable::hold)), in a layout
    /// of its choice. Not by default.
    pub fn holds_state(mut self, holds_state: bool) -> Options {
        self.holds_state = holds_state;
        self
    }

    /// The rates that decide how work is shared out.
    pub fn costs(mut self, costs: Costs) -> Options {
        self.costs = costs;
        self
    }

    /// How many threads share a run: 1 to [`MOST_THREADS`].
    pub fn thread_count(&self) -> usize {
        self.threads
    }

    /// The instruction set that was asked for.
    pub fn instruction_set(&self) -> InstructionSet {
        self.instructions
    }

    /// Whether an executable with these settings is meant to hold its state.
    pub fn is_holding_state(&self) -> bool {
        self.holds_state
    }

    /// The rates in use.
    pub fn rates(&self) -> Costs {
        self.costs
    }
}

impl Default for Options {
    fn default() -> Options {
        let here = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = std::env::var("FOLDGRAD_THREADS").ok().and_then(|text| text.trim().parse().ok());
        let instructions = match std::env::var("FOLDGRAD_INSTRUCTIONS").as_deref() {
            Ok("avx2") => InstructionSet::Avx2,
            Ok("baseline") => InstructionSet::Baseline,
            _ => InstructionSet::Widest,
        };
        let threads = threads.filter(|&threads: &usize| threads > 0).unwrap_or_else(here);
        Options { threads: 1, instructions, holds_state: false, costs: Costs::default() }.threads(threads)
    }
}

impl InstructionSet {
    /// The name of what it stands for on this machine: `AVX-512`, `AVX2`, `NEON` or `baseline`.
    ///
    /// ```
    /// use foldgrad::exec::InstructionSet;
    /// assert_eq!(InstructionSet::Baseline.in_use(), "baseline");
    /// ```
    pub fn in_use(self) -> &'static str {
        self.level().name()
    }

    pub(super) fn level(self) -> Level {
        match self {
            InstructionSet::Widest => Level::widest(),
            InstructionSet::Avx2 => Level::avx2().unwrap_or_else(Level::baseline),
            InstructionSet::Baseline => Level::baseline(),
        }
    }
}
