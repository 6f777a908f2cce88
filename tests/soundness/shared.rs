//! What the threads of a server share can be shared, and what one of them makes can go to another: by the compiler.

use foldgrad::exec::{CalibrateError, Executable, Options, PredictError, Predictor, Profile, RunError};
use foldgrad::interchange::{FusedError, OnnxError, WeightsError};
use foldgrad::ir::{OrderedMap, TensorError, TensorType, UnboundSymbol, Weights};
use foldgrad::nn::Model;
use foldgrad::pass::{FoldError, Folded, FreezeError, PassError, Pipeline, Weighted, WeightsMismatch};
use foldgrad::plan::{Costs, Plan, PlanError, RateError};
use foldgrad::reference::{Array, EvalError};
use foldgrad::rewrite::{ProverError, RewriteError, Unequal};
use foldgrad::train::{Examples, Fit, History, Samples, TrainError, Trainer, TrainerBuilder};
use foldgrad::{Builder, Diagnostic, Diagnostics, Graph, Tensor, autodiff, data, op};
use std::error::Error;

const fn shared<T: Send + Sync>() {}

const fn sent<T: Send>() {}

/// An error that `Box<dyn Error + Send + Sync>` and the error crates take.
const fn error<E: Error + Send + Sync + 'static>() {}

const _: () = {
    // Declarations and values.
    shared::<Graph>();
    shared::<Tensor>();
    shared::<TensorType>();
    shared::<Weights>();
    shared::<OrderedMap<String, Array<f64>>>();
    shared::<Model>();
    shared::<Pipeline>();
    shared::<Folded>();
    shared::<Weighted>();
    shared::<op::Op>();
    // What runs. An executable has one caller at a time, and so has a builder.
    shared::<Plan>();
    shared::<Options>();
    shared::<Costs>();
    shared::<Predictor>();
    shared::<Profile>();
    sent::<Executable>();
    sent::<Builder>();
    // What trains, and on what.
    sent::<Trainer>();
    shared::<TrainerBuilder>();
    shared::<Fit>();
    shared::<History>();
    shared::<Samples>();
    shared::<Examples>();
    shared::<data::ImageSet>();
    shared::<data::Fashion>();
};

const _: () = {
    error::<Diagnostic>();
    error::<Diagnostics>();
    error::<TensorError>();
    error::<UnboundSymbol>();
    error::<op::AttrError>();
    error::<op::Mismatch>();
    error::<EvalError>();
    error::<autodiff::GradientMismatch>();
    error::<RewriteError>();
    error::<ProverError>();
    error::<Unequal>();
    error::<PassError>();
    error::<FoldError>();
    error::<WeightsMismatch>();
    error::<FreezeError>();
    error::<PlanError>();
    error::<RateError>();
    error::<RunError>();
    error::<PredictError>();
    error::<CalibrateError>();
    error::<data::DataError>();
    error::<WeightsError>();
    error::<OnnxError>();
    error::<FusedError>();
    error::<TrainError>();
};
