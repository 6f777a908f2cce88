//! `foldgrad plan`: the kernels of a run, and what the cost model expects of them.

use super::setup::Setup;
use super::{CommandError, print};
use crate::exec::Profile;
use crate::plan::{Costs, Plan, Rate};
use std::fmt::Write;

/// Prints the plan of the tutorial network with the cost model.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Measure the rates on this machine first, in less than a second, and plan with them.
    #[arg(long)]
    calibrate: bool,
    /// Run the plan and print what each step took beside what was expected.
    #[arg(long)]
    measure: bool,
    /// Leave out the kernel calls with their memory.
    #[arg(long)]
    brief: bool,
}

/// Runs that are measured.
const RUNS: usize = 200;

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let measured = match args.calibrate {
        true => Some(Costs::measure(&args.setup.options(Costs::default()))?),
        false => None,
    };
    let options = args.setup.options(measured.unwrap_or_default());
    let mut compiled = args.setup.compile(&options)?;
    let profile = if args.measure { Some(compiled.profile(RUNS)?) } else { None };
    let plan = compiled.run.plan();
    let mut text = format!("{}\n", args.setup.describe());
    if !args.brief {
        let _ = writeln!(text, "{plan}");
    }
    write_costs(&mut text, options.rates(), measured);
    write_estimates(&mut text, plan, profile.as_ref());
    print(&text)
}

fn write_costs(text: &mut String, used: Costs, measured: Option<Costs>) {
    let default = Costs::default();
    let _ = writeln!(text, "{:14} {:>10} {:>10} {:>10}  unit", "costs", "in use", "default", "measured");
    for rate in Rate::ALL {
        let measured = measured.map_or("-".to_owned(), |costs| figure(costs.rate(rate)));
        let (used, default) = (figure(used.rate(rate)), figure(default.rate(rate)));
        let _ = writeln!(text, "{rate:14} {used:>10} {default:>10} {measured:>10}  {}", rate.unit());
    }
}

fn write_estimates(text: &mut String, plan: &Plan, profile: Option<&Profile>) {
    let figures = |text: &mut String, expected: f64, measured: Option<f64>| {
        let expected = expected * 1e-3;
        let _ = write!(text, " {expected:>9.2}");
        if let Some(measured) = measured {
            let measured = measured * 1e6;
            let _ = write!(text, " {measured:>9.2} {:>6.2}", measured / expected.max(f64::MIN_POSITIVE));
        }
        let _ = writeln!(text);
    };
    let _ = write!(text, "\n{:>4} {:33} {:24} {:>6} {:>9}", "step", "from", "kernel", "shared", "µs");
    let _ = writeln!(text, "{}", if profile.is_some() { "  measured  ratio" } else { "" });
    for phase in plan.planned_phases() {
        for step in plan.planned_steps().skip(phase.steps.start).take(phase.steps.len()) {
            let from: String = step.label.to_string();
            let shared = if step.is_shared { "yes" } else { "no" };
            let _ = write!(text, "{:>4} {:33} {:24} {shared:>6}", step.index, cut(&from, 33), cut(&step.kernel(), 24));
            let measured = profile.and_then(|profile| profile.steps.get(step.index)).map(|step| step.slowest_seconds);
            figures(text, step.estimate, measured);
        }
        let shares = if phase.shares == 1 { "1 share".to_owned() } else { format!("{} shares", phase.shares) };
        let _ = write!(text, "     {:65}", format!("= phase {}, {shares}, with the wait at its end", phase.index));
        let measured = profile.and_then(|profile| profile.phases.get(phase.index)).map(|phase| phase.seconds);
        figures(text, phase.estimate, measured);
    }
    let _ = write!(text, "     {:65}", "= a run");
    figures(text, plan.estimate(), profile.map(|profile| profile.unrecorded_seconds));
}

/// About three digits.
fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn cut(text: &str, width: usize) -> String {
    let short = text.chars().count() <= width;
    if short { text.to_owned() } else { text.chars().take(width - 1).chain(['…']).collect() }
}
