//! The drawing is valid Graphviz for every graph and name, and shows what it promises.

use crate::graphs;
use crate::skip::skip;
use foldgrad::{Builder, DType, Graph, ir};
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// The tokens of Graphviz' language: words, quoted strings with their escapes undone, punctuation.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(drawing: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = drawing.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '"' => {
                let mut text = String::new();
                loop {
                    match chars.next().ok_or("a string does not end")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("a string ends in an escape")? {
                            c @ ('"' | '\\') => text.push(c),
                            'n' => text.push('\n'),
                            c => return Err(format!("the escape \\{c} has another meaning")),
                        },
                        c if c.is_control() => return Err(format!("a control character {c:?} in a string")),
                        c => text.push(c),
                    }
                }
                tokens.push(Token::Text(text.replace("&amp;", "&")));
            }
            '-' if chars.next_if_eq(&'>').is_some() => tokens.push(Token::Mark('→')),
            '{' | '}' | '[' | ']' | '=' | ',' | ';' => tokens.push(Token::Mark(c)),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c => return Err(format!("a stray {c:?}")),
        }
    }
    Ok(tokens)
}

/// The strings of a drawing, after checking that its brackets pair up.
#[track_caller]
fn check(drawing: &str) -> Vec<String> {
    let tokens = tokens(drawing).unwrap_or_else(|error| panic!("{error} in\n{drawing}"));
    let mut open = Vec::new();
    for token in &tokens {
        match token {
            Token::Mark(c @ ('{' | '[')) => open.push(*c),
            Token::Mark('}') => assert_eq!(open.pop(), Some('{'), "{drawing}"),
            Token::Mark(']') => assert_eq!(open.pop(), Some('['), "{drawing}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{drawing}");
    assert_eq!(tokens[..2], [Token::Word("digraph".to_owned()), Token::Word("foldgrad".to_owned())]);
    let text = |token| if let Token::Text(text) = token { Some(text) } else { None };
    tokens.into_iter().filter_map(text).collect()
}

/// What Graphviz itself says about a drawing; `None` when it is not installed.
fn graphviz(drawing: &str, format: &str) -> Option<Result<String, String>> {
    let mut child = Command::new("dot")
        .arg(format!("-T{format}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().expect("piped");
    let text = drawing.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("dot ends");
    writer.join().expect("no panic").expect("dot reads all");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() && complaint.is_empty() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(complaint)
    })
}

fn named(name: &str) -> Graph {
    let g = Builder::new();
    let x = g.input(name, DType::F32, [2]);
    g.output(name, g.scoped(name, || x.exp()));
    g.finish().expect("well typed")
}

#[test]
fn every_graph_draws() {
    for sample in graphs::all() {
        check(&ir::to_dot(&sample.graph));
    }
    check(&ir::to_dot(&Graph::default()));
}

#[test]
fn odd_names_are_shown_as_they_are() {
    for name in graphs::NAMES {
        let shown: String = match *name {
            "" => "\"\"".to_owned(),
            name => name.chars().fold(String::new(), |mut shown, c| {
                match c.is_control() || c == '\u{2028}' {
                    true => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                    false => shown.push(c),
                }
                shown
            }),
        };
        let texts = check(&ir::to_dot(&named(name)));
        for expected in [format!("{shown}\ndata f32[2]"), format!("output {shown}\nf32[2]"), shown] {
            assert!(texts.contains(&expected), "{expected:?} is not in {texts:?}");
        }
    }
}

#[test]
fn a_training_step_shows_its_parts() {
    let drawing = ir::to_dot(&graphs::training_step().graph);
    let texts = check(&drawing);
    for expected in
        ["norm", "gradient of norm", "logits", "1 gamma", "#1", "next", "project/kernel\nparameter f32[features,5]"]
    {
        assert!(texts.iter().any(|text| text == expected), "{expected} is not in\n{drawing}");
    }
    for style in
        ["shape=note", "shape=cylinder", "shape=ellipse", "peripheries=2", "style=\"filled,dashed\"", "style=dotted"]
    {
        assert!(drawing.contains(style), "{style} is not in\n{drawing}");
    }
}

#[test]
fn long_attributes_are_shortened() {
    let g = Builder::new();
    g.output("y", g.constant(foldgrad::Tensor::vector((0..10_000).map(|v| v as f32).collect())));
    assert!(ir::to_dot(&g.finish().expect("well typed")).len() < 2000);
    assert!(ir::to_dot(&named(&"long".repeat(10_000))).len() < 2000);
}

#[test]
fn graphviz_accepts_the_drawings() {
    if graphviz("digraph { a }", "dot").is_none() {
        return skip("Graphviz is not installed: there is no `dot`");
    }
    let mut samples = vec![graphs::training_step(), graphs::odd_names(), graphs::constants()];
    samples.extend(graphs::gradients().into_iter().step_by(29));
    for sample in samples {
        let drawing = ir::to_dot(&sample.graph);
        let svg = graphviz(&drawing, "svg").expect("installed");
        if let Err(complaint) = svg {
            panic!("{}: {complaint}\n{drawing}", sample.name);
        }
    }
    let svg = graphviz(&ir::to_dot(&named("<b>&amp;{a|b}\\N")), "svg").expect("installed").expect("valid");
    assert!(svg.contains("&lt;b&gt;&amp;amp;{a|b}\\N"), "{svg}");
}

proptest! {
    #[test]
    fn any_name_draws(name: String) {
        check(&ir::to_dot(&named(&name)));
    }
}
