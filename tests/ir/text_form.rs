//! The text form: printing then parsing is the identity (law L7), and a wrong text gives a report, never a panic.

use crate::graphs::{self, Sample};
use foldgrad::ir::{self, Code, Dim, Source};
use foldgrad::{Builder, DType, Diagnostic, Graph};
use proptest::prelude::*;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

fn parse(text: &str) -> Graph {
    ir::parse(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

#[track_caller]
fn reject(text: &str) -> Diagnostic {
    match ir::parse(text) {
        Ok(graph) => panic!("accepted as\n{graph}"),
        Err(error) => error,
    }
}

/// Law L7.
#[test]
fn printing_then_parsing_is_the_identity() {
    for Sample { name, graph, feeds } in graphs::all() {
        let text = ir::print(&graph);
        let again = parse(&text);
        assert_eq!(ir::print(&again), text, "{name}");
        assert_eq!(again.len(), graph.len(), "{name}");
        let names = |graph: &Graph| graph.inputs().map(|(name, id)| (name.to_owned(), id)).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&graph), "{name}");
        for (id, node) in again.nodes() {
            assert_eq!((node.op(), node.types()), (graph.node(id).op(), graph.node(id).types()), "{name}: {id}");
            assert!(matches!(node.origins()[0].source, Source::Parsed { line } if line as usize == id.index() + 2));
        }
        assert_eq!(graphs::evaluate(&again, &feeds), graphs::evaluate(&graph, &feeds), "{name}");
    }
}

#[test]
fn comments_with_origins_are_skipped() {
    for sample in [graphs::training_step(), graphs::odd_names()] {
        let text = ir::print_with_origins(&sample.graph);
        assert!(text.contains("  // "), "{text}");
        assert_eq!(ir::print(&parse(&text)), ir::print(&sample.graph));
    }
}

#[test]
fn symbols_stay_symbols() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, [Dim::from("batch"), "größe.λ-1".into(), "_".into(), 3.into()]);
    g.output("y", x.mean(&[0]).sum(&[1]));
    g.output("n", g.size([Dim::from("batch"), 7.into()], DType::I32));
    let graph = g.finish().expect("well typed");
    let text = ir::print(&graph);
    assert!(text.contains("f32[batch,größe.λ-1,_,3]"), "{text}");
    assert_eq!(ir::print(&parse(&text)), text);
}

#[test]
fn symbols_have_any_name() {
    for name in graphs::NAMES.iter().chain(&["my batch", "7", "a,b", "]", "inf"]) {
        let g = Builder::new();
        let x = g.input("x", DType::F32, [Dim::from(*name), 3.into()]);
        g.output("y", x.mean(&[0]).broadcast_to([Dim::from(*name), 3.into()]));
        let text = ir::print(&g.finish().expect("well typed"));
        let graph = parse(&text);
        assert_eq!(graph.node(graph.input("x").expect("declared")).types()[0].shape[0], Dim::from(*name));
        assert_eq!(ir::print(&graph), text);
    }
}

#[test]
fn the_empty_graph_is_a_text() {
    let text = ir::print(&Graph::default());
    assert_eq!(text, "graph {\n}\n");
    assert!(parse(&text).is_empty());
    parse("// before\n\ngraph{ // a comment\n}// after\n");
}

#[test]
fn ids_are_names_and_equal_nodes_become_one() {
    let graph = parse(
        r#"graph {
             %in = input() {type = f32[ 2 , n ], name = "x", role = data} : f32[2,n]
             %g = input() {name="g", role=parameter, type=f32[2]}
             %7a = exp( %in )
             %__ = exp(%in) : f32[2,n]
             %stats = batch_norm_train(%__, %g, %g) {axis=0, eps=1e-3}
             output "y" = %stats #1
           }"#,
    );
    let text = ir::print(&graph);
    assert_eq!(graph.nodes().filter(|(_, node)| node.op().name() == "exp").count(), 1, "{text}");
    assert!(text.contains("output \"y\" = %3#1"), "{text}");
}

/// `tests/ir/text/*.ir`: a text, and below it as comments what the parser says: the printed graph, or the report.
#[test]
fn golden_texts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir/text");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the goldens").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() > 20, "the goldens are missing");
    let mut wrong = String::new();
    for file in files {
        let content = std::fs::read_to_string(&file).expect("a text file");
        const MARK: &str = "// expect:\n";
        let input = content.split_once(MARK).map_or(content.as_str(), |(input, _)| input);
        let said = match ir::parse(input) {
            Ok(graph) => ir::print(&graph),
            Err(error) => format!("{error}\n"),
        };
        let mut golden = format!("{}\n{MARK}", input.trim_end());
        for line in said.lines() {
            writeln!(golden, "// {line}").expect("a string");
        }
        // The expectation is a comment: with or without it the parser says the same.
        let whole = ir::parse(&golden).map_or_else(|error| format!("{error}\n"), |graph| ir::print(&graph));
        if !said.contains("the text ends before") && !said.contains("empty") {
            assert_eq!(whole, said, "{}", file.display());
        }
        if golden != content {
            if std::env::var("FOLDGRAD_BLESS").is_ok_and(|value| value == "1") {
                std::fs::write(&file, golden).expect("the goldens are writable");
            } else {
                writeln!(wrong, "--- {}\n{golden}", file.display()).expect("a string");
            }
        }
    }
    assert!(wrong.is_empty(), "goldens differ (FOLDGRAD_BLESS=1 rewrites them):\n{wrong}");
}

/// Every complaint names a line, what was expected, and a way to mend it.
#[test]
fn every_report_names_a_line_and_a_way_out() {
    for text in ["", "\n\n", "graph", "graph {", "}", "graph {\n}\n}", "graph {\n%0 = \n}", "graph {\noutput \"x\n}"] {
        let error = reject(text);
        assert_eq!(error.code(), Code::Syntax, "{error}");
        let report = error.to_string();
        assert!(report.contains("--> line ") && report.contains("help: "), "{report}");
    }
}

#[test]
fn a_claimed_size_allocates_nothing() {
    let claims = ["f32[1000000000000] [1.0]", "f32[18446744073709551615,18446744073709551615] []", "bool[0] [true]"];
    for claim in claims {
        let error = reject(&format!("graph {{\n%0 = constant() {{value={claim}}}\n}}"));
        assert_eq!(error.code(), Code::Attribute, "{error}");
    }
    // A type alone is no allocation.
    parse("graph {\n%0 = input() {name=\"x\", role=data, type=f32[1000000000000,1000000000000]}\n}");
    // One more than the longest axis.
    let padded = "graph {\n%x = input() {name=\"x\", role=data, type=f32[4]}\n%v = constant() {value=f32[] [0.0]}\n\
                  %y = pad(%x, %v) {axis=0, low=0, high=0, interior=6148914691236517204}\n}";
    assert_eq!(reject(padded).code(), Code::Attribute);
    let deep = format!("graph {{\n%0 = constant() {{value={}\n}}", "[".repeat(1 << 20));
    assert!(reject(&deep).to_string().len() < 1000, "a report stays short");
    let long = format!("graph {{\n%{} = {}()\n}}", "a".repeat(1 << 20), "relu".repeat(1 << 18));
    assert!(reject(&long).to_string().len() < 1000, "a report stays short");
    for number in ["99999999999999999999999", "18446744073709551616", "-1", "4294967296", "4294967295"] {
        let text = format!(
            "graph {{\n%k = input() {{name=\"k\", role=data, type=i32[2]}}\n\
             %0 = random_uniform(%k) {{shape=[2], dtype=f32, site={number}}}\n}}"
        );
        assert_eq!(reject(&text).code(), Code::Attribute, "{number}");
    }
}

#[test]
fn long_texts_are_read_in_linear_time() {
    let mut text = String::from("graph {\n%0 = input() {name=\"x\", role=data, type=f32[2]}\n");
    for id in 1..=100_000 {
        let op = if id % 2 == 0 { "exp" } else { "tanh" };
        writeln!(text, "%{id} = {op}(%{}) : f32[2]", id - 1).expect("a string");
    }
    text.push_str("output \"y\" = %100000\n}\n");
    let start = std::time::Instant::now();
    assert_eq!(parse(&text).len(), 100_001);
    // 0.2 s unoptimised; the bound only tells linear from quadratic.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let samples = [graphs::training_step(), graphs::odd_names(), graphs::constants()];
    let mut texts: Vec<String> = samples.iter().map(|sample| ir::print(&sample.graph)).collect();
    texts.extend(graphs::cases().iter().map(|sample| ir::print(&sample.graph)));
    texts
});

/// Every number of every op's text, and every two that stand close, at the limits of their type.
#[test]
fn numbers_at_their_limits_never_panic() {
    const LIMITS: &[&str] =
        &["0", "1", "2147483648", "9223372036854775807", "18446744073709551614", "18446744073709551615"];
    // One text of each form is enough, and the long ones hold no other ops.
    let mut texts: Vec<&String> = TEXTS.iter().filter(|text| text.len() < 1000).collect();
    texts.dedup_by_key(|text| text.split(|c: char| c.is_ascii_digit()).collect::<String>());
    for text in texts {
        let bytes = text.as_bytes();
        let starts = |&at: &usize| bytes[at].is_ascii_digit() && !bytes[at - 1].is_ascii_alphanumeric();
        let numbers: Vec<(usize, usize)> = (1..bytes.len())
            .filter(starts)
            .filter(|&at| bytes[at - 1] != b'%')
            .map(|at| (at, at + text[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - at)))
            .collect();
        for (index, &(start, end)) in numbers.iter().enumerate() {
            // Only the large ones are paired, each with that many numbers after it.
            for (limit, others) in LIMITS.iter().zip([0, 0, 0, 1, 0, 2]) {
                let one = format!("{}{limit}{}", &text[..start], &text[end..]);
                let _ = ir::parse(&one);
                for &(from, to) in numbers[index + 1..].iter().take(others) {
                    for second in &LIMITS[3..] {
                        let tail = &text[end..from];
                        let _ = ir::parse(&format!("{}{limit}{tail}{second}{}", &text[..start], &text[to..]));
                    }
                }
            }
        }
    }
}

// What a mutation puts in: the pieces that the grammar is made of, and numbers at their limits.
const PIECES: &[&str] = &[
    "%",
    "#",
    "=",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "//",
    "\n",
    " ",
    "%0",
    "%0#1",
    "output",
    "update",
    "graph {",
    "0",
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "4294967295",
    "1e400",
    "NaN",
    "f32[",
    "i32[2]",
    "axis=",
    "\\u{110000}",
    "\\u{",
    "é",
    "\0",
    "batch",
    "true",
];

#[derive(Clone, Debug)]
enum Edit {
    Delete(usize, usize),
    Insert(usize, usize),
    Copy(usize, usize, usize),
    Cut(usize),
    Digit(usize, u8),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = || any::<usize>();
    let edit = prop_oneof![
        (at(), 1usize..20).prop_map(|(a, n)| Edit::Delete(a, n)),
        (at(), at()).prop_map(|(a, piece)| Edit::Insert(a, piece)),
        (at(), at(), 1usize..60).prop_map(|(a, b, n)| Edit::Copy(a, b, n)),
        at().prop_map(Edit::Cut),
        (at(), b'0'..=b'9').prop_map(|(a, digit)| Edit::Digit(a, digit)),
    ];
    prop::collection::vec(edit, 1..5)
}

fn mutate(text: &str, edits: &[Edit]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        let len = bytes.len().max(1);
        let clip = |at: usize| (at % len).min(bytes.len());
        match *edit {
            Edit::Delete(at, n) => drop(bytes.drain(clip(at)..(clip(at) + n).min(bytes.len()))),
            Edit::Insert(at, piece) => {
                let at = clip(at);
                bytes.splice(at..at, PIECES[piece % PIECES.len()].bytes());
            }
            Edit::Copy(from, to, n) => {
                let piece = bytes[clip(from)..(clip(from) + n).min(bytes.len())].to_vec();
                let to = clip(to);
                bytes.splice(to..to, piece);
            }
            Edit::Cut(at) => bytes.truncate(clip(at)),
            Edit::Digit(at, digit) => {
                let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
                if let Some(&at) = digits.get(at % digits.len().max(1)) {
                    bytes[at] = digit;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged text is refused with a line, or means a graph that prints and parses again.
    #[test]
    fn damage_never_panics(which: prop::sample::Index, edits in edits()) {
        let text: &String = which.get(TEXTS.as_slice());
        let text = mutate(text, &edits);
        match ir::parse(&text) {
            Ok(graph) => {
                let printed = ir::print(&graph);
                prop_assert_eq!(ir::print(&parse(&printed)), printed);
            }
            Err(error) => {
                let report = error.to_string();
                prop_assert!(report.contains("--> line "), "{}", report);
            }
        }
    }

    #[test]
    fn noise_never_panics(text in "[ -~\n\u{e9}]{0,80}") {
        prop_assert!(ir::parse(&text).is_err());
        let node = format!("graph {{\n%0 = {text}\n}}");
        prop_assert!(ir::parse(&node).is_err());
    }

    /// Any name survives, as the name of an input, an output and a state.
    #[test]
    fn any_name_survives(name: String) {
        let g = Builder::new();
        let x = g.state(&name, DType::F32, [2]);
        g.output(&name, x);
        g.update(x, x * 2.0);
        let text = ir::print(&g.finish().expect("well typed"));
        let graph = parse(&text);
        prop_assert_eq!(graph.inputs().next().map(|(name, _)| name), Some(name.as_str()));
        prop_assert_eq!(graph.outputs().next().map(|(name, _)| name), Some(name.as_str()));
        prop_assert_eq!(ir::print(&graph), text);
    }
}
