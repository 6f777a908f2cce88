//! Reads the text form of a graph, the inverse of [`print`](super::print()).
//!
//! **Invariant.** `print(parse(text)) = text` for every printed text, and what is parsed evaluates to the same values.
//! A text is hostile until checked: whatever it says, the answer is a graph or a [`Diagnostic`] that names the line,
//! what was expected there and how to mend it; nothing is allocated because the text claims a size.
//!
//! ```text
//! graph  := "graph {" line* "}"                                        one item a line; "//" starts a comment
//! line   := node | "output" string "=" value | "update" value "=" value
//! node   := "%"id "=" op "(" value,* ")" [ "{" (name "=" attribute),* "}" ] [ ":" type,* ]
//! value  := "%"id [ "#" result ]                                       an id is letters, digits and "_"
//! ```
//!
//! Ids are names: a hand-written text may use `%hidden`, and printing numbers them anew. Types may be left out; those
//! that are there must be the inferred ones.

mod line;

use super::{Builder, Code, Diagnostic, Expr, Graph, NodeId, Source, TensorType, Value};
use crate::op::{Attr, AttrError, Attrs, InferCx, Op};
use line::{Line, excerpt, nearest};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The graph that `text` describes.
///
/// ```
/// use foldgrad::ir;
/// let graph = ir::parse(
///     r#"graph {
///          %x = input() {name="x", role=data, type=f32[batch,3]}
///          %y = relu(%x) : f32[batch,3]
///          output "y" = %y
///        }"#,
/// )?;
/// let text = ir::print(&graph);
/// assert!(text.contains("%1 = relu(%0) : f32[batch,3]"));
/// assert_eq!(ir::print(&ir::parse(&text)?), text);
/// # Ok::<(), foldgrad::Diagnostic>(())
/// ```
///
/// # Errors
/// The first mistake of the text, with its line: [`Code::Syntax`] for the text itself, and the op's own code where
/// operands or attributes do not fit an op.
pub fn parse(text: &str) -> Result<Graph, Diagnostic> {
    let builder = Builder::new();
    Reader { builder: &builder, text, nodes: HashMap::new() }.graph()?;
    builder.finish().map_err(|errors| errors.first().clone())
}

struct Reader<'t, 'b> {
    builder: &'b Builder,
    text: &'t str,
    // What each id stands for, and the line that says so.
    nodes: HashMap<&'t str, (NodeId, u32)>,
}

impl<'t, 'b> Reader<'t, 'b> {
    fn graph(&mut self) -> Result<(), Diagnostic> {
        let text = self.text;
        let mut lines = Line::all(text);
        let Some(mut first) = lines.next() else {
            return Err(Line::at_end(text)
                .error("the text is empty; a graph was expected")
                .help("a graph is written as `graph {`, one line a node, then `}`"));
        };
        if first.word() != "graph" || !first.eat('{') {
            return Err(first.error("expected `graph {`").help("a text starts with the line `graph {`"));
        }
        first.end("`graph {`")?;
        for mut line in lines.by_ref() {
            match line.peek() {
                Some('%') => self.node(&mut line)?,
                Some('}') => {
                    line.eat('}');
                    line.end("the closing `}`")?;
                    return match lines.next() {
                        Some(extra) => Err(extra
                            .error(format!("expected nothing after the closing `}}`, found {}", extra.found()))
                            .help("a text holds one graph; remove what follows it")),
                        None => Ok(()),
                    };
                }
                _ => match line.word() {
                    "output" => self.output(&mut line)?,
                    "update" => self.update(&mut line)?,
                    _ => return Err(line.start().error("expected a node, an output, an update or `}`").help(
                        "a line is `%id = op(operands) {attributes} : types`, `output \"name\" = %id` or `update %id = %id`",
                    )),
                },
            }
        }
        Err(Line::at_end(text)
            .error("the text ends before the closing `}` of the graph")
            .help("add a line `}`; if there was one, the text was cut short"))
    }

    fn node(&mut self, line: &mut Line<'t>) -> Result<(), Diagnostic> {
        let id = line.id()?;
        line.require('=', "the id of a node")?;
        let name = line.word();
        if name.is_empty() {
            return Err(line
                .error(format!("expected the name of an op, found {}", line.found()))
                .help("a node is `%id = op(operands) {attributes} : types`"));
        }
        let operands = self.operands(line)?;
        let attrs = self.attributes(line)?;
        let op = make_op(line, name, attrs)?;
        let results = self.builder.attributed(Source::Parsed { line: line.number }, || self.build(op, &operands));
        let Some(first) = results.first().copied().filter(|result| !result.is_poisoned()) else {
            return Err(self.failure(line));
        };
        self.check_types(line, name, first.value().node)?;
        line.end("a node")?;
        match self.nodes.entry(id) {
            Entry::Occupied(known) => Err(line
                .error(format!("%{} is defined twice", excerpt(id)))
                .note(format!("it was first defined on line {}", known.get().1))
                .help("give each node its own id")),
            Entry::Vacant(slot) => {
                slot.insert((first.value().node, line.number));
                Ok(())
            }
        }
    }

    fn build(&self, op: Op, operands: &[Expr<'b>]) -> Vec<Expr<'b>> {
        let Op::Input(input) = &op else { return self.builder.push_all(op, operands) };
        let types: Vec<TensorType> = operands.iter().map(|operand| operand.ty()).collect();
        let types: Vec<&TensorType> = types.iter().collect();
        match op.infer(&InferCx::new(op.operand_names(), &types)).ok().and_then(|types| types.first().cloned()) {
            Some(ty) => vec![self.builder.declare(input.name(), input.role, ty)],
            // The builder explains what is wrong with it.
            None => self.builder.push_all(op.clone(), operands),
        }
    }

    fn operands(&self, line: &mut Line<'t>) -> Result<Vec<Expr<'b>>, Diagnostic> {
        line.require('(', "the name of an op")?;
        let mut operands = Vec::new();
        if line.eat(')') {
            return Ok(operands);
        }
        loop {
            operands.push(self.builder.expr(self.value(line)?));
            if line.eat(')') {
                return Ok(operands);
            }
            if !line.eat(',') {
                return Err(line
                    .error(format!("expected `,` or `)` after an operand, found {}", line.found()))
                    .help("operands are written `(%0, %1)`, all of a node on one line"));
            }
        }
    }

    fn attributes(&self, line: &mut Line<'t>) -> Result<Vec<(&'t str, &'t str)>, Diagnostic> {
        let mut attrs = Vec::new();
        if !line.eat('{') || line.eat('}') {
            return Ok(attrs);
        }
        loop {
            let name = line.word();
            if name.is_empty() {
                return Err(line
                    .error(format!("expected the name of an attribute, found {}", line.found()))
                    .help("attributes are written `{axis=1, eps=0.001}`"));
            }
            line.require('=', "the name of an attribute")?;
            attrs.push((name, line.until(&[',', '}'], "an attribute")?));
            if line.eat('}') {
                return Ok(attrs);
            }
            line.require(',', "an attribute")?;
        }
    }

    fn value(&self, line: &mut Line<'t>) -> Result<Value, Diagnostic> {
        let id = line.id()?;
        let Some(&(node, _)) = self.nodes.get(id) else { return Err(self.undefined(line, id)) };
        let results = self.builder.graph().node(node).types().len();
        if !line.eat('#') {
            return Ok(Value::first(node));
        }
        let word = line.word();
        match word.parse::<u32>() {
            Ok(output) if (output as usize) < results => Ok(Value { node, output }),
            _ => Err(line
                .error(format!("%{} has no result `#{}`", excerpt(id), excerpt(word)))
                .help(format!("its results are counted from 0; it has {results}"))),
        }
    }

    fn output(&mut self, line: &mut Line<'t>) -> Result<(), Diagnostic> {
        let text = line.until(&['='], "the name of an output")?;
        let Ok(name) = alone(text).text("") else {
            return Err(line
                .error(format!("expected the name of an output in quotes, found `{}`", excerpt(text)))
                .help(r#"write `output "name" = %3`; in quotes only \", \\ and \u{a} are escapes"#));
        };
        line.require('=', "the name of an output")?;
        let value = self.value(line)?;
        line.end("an output")?;
        self.builder.output(&name, self.builder.expr(value));
        self.settle(line)
    }

    fn update(&mut self, line: &mut Line<'t>) -> Result<(), Diagnostic> {
        let state = self.value(line)?;
        line.require('=', "the state that is updated")?;
        let next = self.value(line)?;
        line.end("an update")?;
        if self.builder.graph().updates.contains_key(&state.node) {
            return Err(line
                .error(format!("{} is updated twice", self.builder.graph().describe(state.node)))
                .help("a state has one next value; remove one of the two lines"));
        }
        self.builder.update(self.builder.expr(state), self.builder.expr(next));
        self.settle(line)
    }

    /// Compares the types that the line states, if it does, with the inferred ones.
    fn check_types(&self, line: &mut Line<'t>, op: &str, node: NodeId) -> Result<(), Diagnostic> {
        if !line.eat(':') {
            return Ok(());
        }
        let mut stated = Vec::new();
        loop {
            let text = line.until(&[','], "a type")?;
            let Ok(ty) = alone(text).ty("") else {
                return Err(line
                    .error(format!("expected a type, found `{}`", excerpt(text)))
                    .help("a type is an element type (f32, f64, i32, bool) and a shape, such as f32[batch,784]"));
            };
            stated.push(ty);
            if !line.eat(',') {
                break;
            }
        }
        let graph = self.builder.graph();
        let inferred = graph.node(node).types();
        if stated == inferred {
            return Ok(());
        }
        let same_dtypes = stated.iter().zip(inferred).all(|(stated, inferred)| stated.dtype == inferred.dtype);
        let code = if same_dtypes { Code::Shape } else { Code::DType };
        let list = |types: &[TensorType]| types.iter().map(TensorType::to_string).collect::<Vec<_>>().join(", ");
        let title = format!("{op} gives {}, but the line says {}", list(inferred), excerpt(&list(&stated)));
        Err(line.coded(code, title).help("write the inferred types, or leave `: types` out"))
    }

    fn undefined(&self, line: &Line<'t>, id: &str) -> Diagnostic {
        let later = Line::all(self.text).find(|other| {
            let mut other = other.start();
            other.number >= line.number && other.peek() == Some('%') && other.id().is_ok_and(|other| other == id)
        });
        let error = line.error(format!("%{} is not defined before this line", excerpt(id)));
        match later {
            Some(later) => error
                .note(format!("it is defined on line {}", later.number))
                .help("a node may use only earlier nodes; move its definition up"),
            None => {
                let error = error.help("a node may use only the ids of earlier lines");
                match nearest(id, self.nodes.keys().copied().take(1000)) {
                    Some(near) => error.help(format!("did you mean %{near}?")),
                    None => error,
                }
            }
        }
    }

    /// The builder's complaint about this line, if it has one.
    fn settle(&self, line: &Line<'t>) -> Result<(), Diagnostic> {
        match self.builder.errors() {
            Some(_) => Err(self.failure(line)),
            None => Ok(()),
        }
    }

    fn failure(&self, line: &Line<'t>) -> Diagnostic {
        match self.builder.errors() {
            Some(errors) => line.place(errors.first().clone()),
            None => line.error("this line does not fit the graph"),
        }
    }
}

/// A single attribute, to be read as what it should be.
fn alone(text: &str) -> Attrs {
    Attrs(vec![(String::new(), text.to_owned())])
}

/// The op of that name with those attributes.
fn make_op(line: &Line<'_>, name: &str, written: Vec<(&str, &str)>) -> Result<Op, Diagnostic> {
    let mut attrs = Attrs(written.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect());
    let Some(made) = Op::from_attrs(name, &mut attrs) else {
        let error = line.error(format!("there is no op `{}`", excerpt(name)));
        return Err(match nearest(name, Op::names()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("docs/OPS.md lists every op"),
        });
    };
    let text_of = |name: &str| written.iter().find(|(have, _)| *have == name).map(|(_, text)| *text);
    let op = made.map_err(|AttrError { name: attr, expected }| {
        let found = match text_of(&attr) {
            Some(text) => format!("found `{}`", excerpt(text)),
            None => "found none".to_owned(),
        };
        line.coded(Code::Attribute, format!("{name}: attribute `{attr}`: expected {expected}, {found}"))
            .help("attributes are written `{axis=1, eps=0.001}`; docs/OPS.md lists those of each op")
    })?;
    let known = op.attrs();
    if let Some((extra, _)) = attrs.0.first() {
        let title = match known.iter().any(|(name, _)| name == extra) {
            true => format!("{name}: the attribute `{}` is given twice", excerpt(extra)),
            false => format!("{name}: there is no attribute `{}`", excerpt(extra)),
        };
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(line.coded(Code::Attribute, title).help(match names.is_empty() {
            true => format!("{name} has no attributes"),
            false => format!("{name} has the attributes {}, once each", names.join(", ")),
        }));
    }
    // An op may keep an integer in fewer bits than it was written with.
    for (attr, value) in &known {
        if let (Attr::Int(kept), Some(text)) = (value, text_of(attr))
            && (text.parse() != Ok(*kept) || op.site() == Some(u32::MAX))
        {
            return Err(line
                .coded(Code::Attribute, format!("{name}: attribute `{attr}`: {} is too large", excerpt(text)))
                .help("use a smaller number"));
        }
    }
    Ok(op)
}
