//! Runs exported bytes in rten, which computes in f32 and i32: f64 models become f32 there, masks and i64 become i32.

use foldgrad::ir::OrderedMap;
use foldgrad::{DType, Tensor};
use rten::{Model, Value};

/// A model, loaded. Constants are computed in loading.
pub fn load(model: Vec<u8>) -> Result<Model, String> {
    let model = std::panic::catch_unwind(|| Model::load(model)).map_err(|_| "it panics in loading".to_owned())?;
    model.map_err(|error| format!("it does not load: {error}"))
}

/// The outputs of a model for these inputs, by name.
pub fn run(model: &Model, feeds: &OrderedMap<String, Tensor>, outputs: &[&str]) -> Result<Vec<Tensor>, String> {
    let id = |name: &str| model.node_id(name).map_err(|error| error.to_string());
    let feed = |(name, tensor): (&String, &Tensor)| Ok((id(name)?, value(tensor).into()));
    let inputs = feeds.iter().map(feed).collect::<Result<Vec<_>, String>>()?;
    let outputs = outputs.iter().map(|name| id(name)).collect::<Result<Vec<_>, String>>()?;
    let run = std::panic::AssertUnwindSafe(|| model.run(inputs, &outputs, None));
    let results = std::panic::catch_unwind(run).map_err(|_| "it panics".to_owned())?;
    results.map_err(|error| format!("it does not run: {error}"))?.into_iter().map(tensor).collect()
}

fn value(tensor: &Tensor) -> Value {
    let shape = tensor.shape();
    if tensor.dtype().is_float() {
        let single = tensor.cast(DType::F32);
        let data = single.as_slice::<f32>().expect("cast to it").to_vec();
        return rten_tensor::Tensor::from_data(shape, data).into();
    }
    let data: Vec<i32> = tensor.to_f64().into_iter().map(|value| value as i32).collect();
    rten_tensor::Tensor::from_data(shape, data).into()
}

fn tensor(value: Value) -> Result<Tensor, String> {
    use rten_tensor::{AsView, Layout};
    let tensor = match value {
        Value::FloatTensor(value) => Tensor::new(value.shape(), value.to_vec()),
        Value::Int32Tensor(value) => Tensor::new(value.shape(), value.to_vec()),
        _ => return Err("it gave neither f32 nor i32".to_owned()),
    };
    tensor.map_err(|error| error.to_string())
}

/// The largest difference relative to the largest entry that was expected, NaN counting as NaN.
pub fn difference(found: &Tensor, expected: &Tensor) -> Result<f64, String> {
    if found.shape() != expected.shape() {
        return Err(format!("the shape is {:?}, expected {:?}", found.shape(), expected.shape()));
    }
    let (found, expected) = (found.to_f64(), expected.to_f64());
    let finite = expected.iter().filter(|value| value.is_finite());
    let scale = finite.fold(0.0f64, |scale, value| scale.max(value.abs())).max(SMALL);
    let entry = |(&a, &b): (&f64, &f64)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() / scale };
    let worst =
        found.iter().zip(&expected).map(entry).fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst });
    Ok(worst)
}

/// Operands are numbers around 1: that they are rounded to f32 moves a result by so much, times [`SINGLE`], however small it is
/// itself.
const SMALL: f64 = 0.1;

/// What f32 arithmetic in another order may do.
pub const SINGLE: f64 = 1e-5;

pub fn agree(found: &[Tensor], expected: &OrderedMap<String, Tensor>) -> Result<f64, String> {
    let mut worst = 0.0f64;
    for (found, (name, expected)) in found.iter().zip(expected) {
        let here = difference(found, expected).map_err(|why| format!("{name}: {why}"))?;
        if here.is_nan() || here > SINGLE {
            return Err(format!("{name} differs by {here:e}: {found:?}, expected {expected:?}"));
        }
        worst = worst.max(here);
    }
    Ok(worst)
}
