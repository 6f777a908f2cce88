//! A fused file leads back to the trained weights, bit for bit; a damaged one is refused.

use super::{FORMS, model, trained};
use foldgrad::interchange::fused::{self, FusedError};
use foldgrad::interchange::onnx::{self, ExportOptions};
use foldgrad::ir::Weights;
use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
use foldgrad::{DType, Tensor, pass};
use std::collections::BTreeMap;
use tempfile::TempDir;

fn bits(tensor: &Tensor) -> Vec<u64> {
    match tensor.as_slice::<f32>() {
        Some(data) => data.iter().map(|x| u64::from(x.to_bits())).collect(),
        None => tensor.as_slice::<f64>().unwrap().iter().map(|x| x.to_bits()).collect(),
    }
}

#[track_caller]
fn same(a: &Weights, b: &Weights) {
    let names = |weights: &Weights| weights.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(a), names(b));
    for (name, tensor) in a {
        assert_eq!(tensor.ty(), b[name].ty(), "{name}");
        assert!(bits(tensor) == bits(&b[name]), "{name}");
    }
}

#[test]
fn every_form_leads_back() {
    let folder = TempDir::new().unwrap();
    for float in [DType::F32, DType::F64] {
        for (name, batch_norm, biases) in FORMS {
            let path = folder.path().join(format!("{name}.onnx"));
            let trainer = trained(model(batch_norm, biases), float);
            let folded = trainer.fold().unwrap();
            let metadata = BTreeMap::from([("network".to_owned(), name.to_owned())]);
            let saved = trainer.export(&path, &folded, &metadata).unwrap();
            let back = fused::unfuse(&path).unwrap();
            same(&back.weights, &trainer.model_weights());
            assert_eq!(back.metadata, metadata);
            assert_eq!(back.graph.to_string(), trainer.inference_graph().to_string());
            // Folding what came back gives the same weights; their names are lost, since text has no layers.
            let again = pass::fold(&back.graph, &back.weights).unwrap();
            assert!(again.weights.values().map(bits).eq(folded.weights.values().map(bits)), "{name}");
            let weights: usize = folded.weights.values().map(|tensor| tensor.len() * tensor.dtype().size()).sum();
            println!("{name} {float}: {} bytes, {weights} of them weights", saved.bytes);
        }
    }
}

#[test]
fn a_second_export_is_identical() {
    let folder = TempDir::new().unwrap();
    let trainer = trained(model(FORMS[0].1, true), DType::F32);
    let files = ["one.onnx", "two.onnx"].map(|name| folder.path().join(name));
    for path in &files {
        trainer.export(path, &trainer.fold().unwrap(), &BTreeMap::new()).unwrap();
    }
    assert!(std::fs::read(&files[0]).unwrap() == std::fs::read(&files[1]).unwrap());
}

/// Scales of 0, of either sign, subnormal and not finite: what the folded weights have lost is in the recipe.
#[test]
fn nasty_weights_lead_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nasty.onnx");
    let model =
        Sequential::new([80]).add(Dense::new(70)).add(BatchNormalization::new()).add(Dense::new(60)).build().unwrap();
    for float in [DType::F32, DType::F64] {
        let graph = model.graph(Mode::Inference, float).unwrap();
        let mut weights = model.initial_values_as(1, float);
        let nasty = [0.0, -0.0, 1e-40, -3e-39, f64::INFINITY, f64::NAN, -1.0, 1e30, 1e-30];
        let gamma = (0..70).map(|i| nasty[i % nasty.len()]);
        weights.insert("batch_normalization/gamma".into(), Tensor::from_f64(float, [70], gamma).unwrap());
        let var = (0..70).map(|i| [0.0, 1e-38, 1.0, 1e30][i % 4]);
        weights.insert("batch_normalization/moving_variance".into(), Tensor::from_f64(float, [70], var).unwrap());
        let mut kernel = weights["dense/kernel"].to_f64();
        (kernel[0], kernel[1], kernel[2]) = (-0.0, 0.0, 1e-44);
        weights.insert("dense/kernel".into(), Tensor::from_f64(float, [80, 70], kernel).unwrap());
        // Infinite and NaN weights make the comparison of samples moot; the algebra is proved all the same.
        let folded = pass::fold(&graph, &weights).unwrap();
        fused::save(&path, &folded, &weights, &BTreeMap::new()).unwrap();
        same(&fused::unfuse(&path).unwrap().weights, &weights);
    }
}

#[test]
fn files_without_a_recipe_and_damaged_ones_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let trainer = trained(model(FORMS[0].1, false), DType::F32);
    let folded = trainer.fold().unwrap();
    onnx::save(&path, &folded.graph, &folded.weights, &ExportOptions::new()).unwrap();
    let error = fused::unfuse(&path).unwrap_err();
    assert!(matches!(error, FusedError::Missing { key: "foldgrad.declared", .. }), "{error}");
    trainer.export(&path, &folded, &BTreeMap::new()).unwrap();
    let file = onnx::load(&path).unwrap();
    type Damage = fn(&str) -> String;
    let damage: [(&str, Damage); 8] = [
        ("foldgrad.originals", |_| "no base64 at all!".to_owned()),
        ("foldgrad.originals", |_| String::new()),
        ("foldgrad.originals", |text| text[..text.len() / 2 / 4 * 4].to_owned()),
        ("foldgrad.originals", |text| text.replace('A', "B")),
        ("foldgrad.declared", |text| text.replace("dot", "dit")),
        ("foldgrad.recipe", |text| text.replace("graph {", "graph")),
        ("foldgrad.recipe", |text| text.replace("dense/kernel", "dense/colonel")),
        ("foldgrad.recipe", |text| text.replace("f32[784,300]", "f32[784000000,300000000]")),
    ];
    for (key, damage) in damage {
        let mut metadata = file.metadata.clone();
        let whole = metadata[key].clone();
        metadata.insert(key.to_owned(), damage(&whole));
        onnx::save(&path, &folded.graph, &folded.weights, &ExportOptions::new().metadata(metadata)).unwrap();
        let error = fused::unfuse(&path).unwrap_err();
        assert!(error.to_string().len() > 20, "{error}");
    }
    let incomplete = trainer.model_weights().into_iter().filter(|(name, _)| name != "dense/kernel").collect();
    let error = fused::save(&path, &folded, &incomplete, &BTreeMap::new()).unwrap_err();
    assert!(matches!(&error, FusedError::NoValue { name } if name == "dense/kernel"), "{error}");
}
