//! `Model::summary`, compared with what Keras 3.15 prints on a terminal of 80 characters.

use foldgrad::DType;
use foldgrad::nn::{
    Activation, BatchNormalization, Concatenate, Dense, Dropout, Flatten, Input, Merge, Model, ModelBuilder, Sequential,
};

fn tutorial() -> Model {
    let mut net = Sequential::new([28, 28]).add(Flatten::new());
    for units in [300, 200, 100] {
        net = net.add(Dense::new(units).without_bias()).add(BatchNormalization::new()).add(Activation::Relu);
    }
    net.add(Dropout::new(0.1)).add(Dense::new(10).activation(Activation::Softmax)).build().unwrap()
}

#[test]
fn the_tutorial_network_prints_as_in_keras() {
    assert_eq!(
        tutorial().summary(),
        r#"
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ flatten (Flatten)               │ (None, 784)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense (Dense)                   │ (None, 300)            │       235,200 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ batch_normalization             │ (None, 300)            │         1,200 │
│ (BatchNormalization)            │                        │               │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ activation (Activation)         │ (None, 300)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 200)            │        60,000 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ batch_normalization_1           │ (None, 200)            │           800 │
│ (BatchNormalization)            │                        │               │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ activation_1 (Activation)       │ (None, 200)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_2 (Dense)                 │ (None, 100)            │        20,000 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ batch_normalization_2           │ (None, 100)            │           400 │
│ (BatchNormalization)            │                        │               │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ activation_2 (Activation)       │ (None, 100)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dropout (Dropout)               │ (None, 100)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_3 (Dense)                 │ (None, 10)             │         1,010 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 318,610 (1.22 MB)
 Trainable params: 317,410 (1.21 MB)
 Non-trainable params: 1,200 (4.69 KB)"#
            .trim_start()
    );
}

#[test]
fn a_graph_of_layers_shows_what_each_is_connected_to() {
    let m = ModelBuilder::new();
    let (image, side) = (m.input("image", [28, 28]), m.input("input_layer", [4]));
    let flat = m.add(Flatten::new(), image);
    let a = m.add(Dense::new(5), flat);
    let b = m.add(Dense::new(5).activation(Activation::Tanh), side);
    let sum = m.add(Merge::Add, [a, b]);
    let all = m.add(Concatenate::new(), [a, b, sum]);
    let head = m.add(Dense::new(2).named("head"), all);
    let tail = m.add(BatchNormalization::new().named("tail"), all);
    let model = m.build([image, side], [head, tail]).unwrap();
    // Keras cuts "(BatchNormalizatio…" short; here the column is as wide as the word. Inputs come first.
    assert_eq!(
        model.summary(),
        r#"
Model: "functional"
┏━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)         ┃ Output Shape      ┃    Param # ┃ Connected to      ┃
┡━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
│ image (InputLayer)   │ (None, 28, 28)    │          0 │ -                 │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ input_layer          │ (None, 4)         │          0 │ -                 │
│ (InputLayer)         │                   │            │                   │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ flatten (Flatten)    │ (None, 784)       │          0 │ image[0][0]       │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ dense (Dense)        │ (None, 5)         │      3,925 │ flatten[0][0]     │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ dense_1 (Dense)      │ (None, 5)         │         25 │ input_layer[0][0] │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ add (Add)            │ (None, 5)         │          0 │ dense[0][0],      │
│                      │                   │            │ dense_1[0][0]     │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ concatenate          │ (None, 15)        │          0 │ dense[0][0],      │
│ (Concatenate)        │                   │            │ dense_1[0][0],    │
│                      │                   │            │ add[0][0]         │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ head (Dense)         │ (None, 2)         │         32 │ concatenate[0][0] │
├──────────────────────┼───────────────────┼────────────┼───────────────────┤
│ tail                 │ (None, 15)        │         60 │ concatenate[0][0] │
│ (BatchNormalization) │                   │            │                   │
└──────────────────────┴───────────────────┴────────────┴───────────────────┘
 Total params: 4,042 (15.79 KB)
 Trainable params: 4,012 (15.67 KB)
 Non-trainable params: 30 (120.00 B)"#
            .trim_start()
    );
}

#[test]
fn a_shared_layer_is_one_row_and_a_chain_needs_no_last_column() {
    let m = ModelBuilder::new().named("twins");
    let (a, b) = (m.input("a", [4]), m.input("b", [4]));
    let shared = m.layer(Dense::new(3).frozen());
    let sum = m.add(Merge::Add, [m.call(shared, a), m.call(shared, b)]);
    let twins = m.build([a, b], sum).unwrap();
    assert_eq!(
        twins.summary(),
        r#"
Model: "twins"
┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)        ┃ Output Shape      ┃    Param # ┃ Connected to      ┃
┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
│ a (InputLayer)      │ (None, 4)         │          0 │ -                 │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ b (InputLayer)      │ (None, 4)         │          0 │ -                 │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ dense (Dense)       │ (None, 3)         │         15 │ a[0][0], b[0][0]  │
├─────────────────────┼───────────────────┼────────────┼───────────────────┤
│ add (Add)           │ (None, 3)         │          0 │ dense[0][0],      │
│                     │                   │            │ dense[1][0]       │
└─────────────────────┴───────────────────┴────────────┴───────────────────┘
 Total params: 15 (60.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 15 (60.00 B)"#
            .trim_start()
    );

    let m = ModelBuilder::new();
    let words = m.input("words", Input::new(["time", "feature"]));
    let chain = m.build(words, m.add(Activation::Tanh, words)).unwrap();
    assert_eq!(
        chain.summary(),
        r#"
Model: "functional"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ words (InputLayer)              │ (None, None, None)     │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ activation (Activation)         │ (None, None, None)     │             0 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 0 (0.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 0 (0.00 B)"#
            .trim_start()
    );
}

#[test]
fn a_model_inside_a_model_is_one_row() {
    let base = Sequential::new([784]).named("base").add(Dense::new(10)).add(BatchNormalization::new()).build().unwrap();
    let model = Sequential::new([28, 28]).add(Flatten).add(base.frozen()).add(Dense::new(2)).build().unwrap();
    let summary = model.summary();
    assert!(
        summary.contains("│ base (Sequential)               │ (None, 10)             │         7,890 │"),
        "{summary}"
    );
    assert!(summary.ends_with("Trainable params: 22 (88.00 B)\n Non-trainable params: 7,890 (30.82 KB)"), "{summary}");
    assert_eq!(model.output_types(DType::F64)["dense"].to_string(), "f64[batch,2]");
}
