//! `docs/OPS.md` is written by this test from what each op says of itself, and says nothing else.

use foldgrad::op::{Attr, Case, Cotangent, Op};
use foldgrad::{Builder, DType, Expr, autodiff, ir::TensorType};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const HEADER: &str = "\
# The op index

Generated from the ops themselves: `FOLDGRAD_BLESS=1 cargo test --test ops op_index` writes it anew.
[How to add an op](ADDING_AN_OP.md) tells what each column comes from.

- **kind**: a *primitive* is defined by its reference evaluation, a *composite* by its expansion into smaller ops.
- **derivative**: *yes* if every float operand has one (otherwise those that do are named), *zero* if the op is a
  constant to differentiation, *no* if asking for a gradient through it is an error, and — if it has no float operand
  or no float result, so that nothing can be asked. Composites without a rule of their own are differentiated through
  their expansion.

| op | operands | attributes | results | computes | kind | derivative |
| --- | --- | --- | --: | --- | --- | --- |
";

/// An op with operands that it takes.
struct Instance {
    op: Op,
    operands: Vec<TensorType>,
}

/// The sampled instances, and those that sampling leaves out: inputs, and floats that stay floats.
fn instances() -> Vec<Instance> {
    let of = |case: Case| Instance { op: case.op, operands: case.operands.into_iter().map(|s| s.ty).collect() };
    let mut instances: Vec<Instance> = Op::cases().into_iter().map(of).collect();
    let g = Builder::new();
    let x = g.input("x", DType::F64, [2]);
    x.cast(DType::F32);
    x.stop_gradient();
    for (_, node) in g.finish().expect("well typed").nodes() {
        let operands = node.operands().iter().map(|_| TensorType::new(DType::F64, [2])).collect();
        instances.push(Instance { op: node.op().clone(), operands });
    }
    instances
}

fn with_operands<T>(instance: &Instance, body: impl for<'b> FnOnce(&'b Builder, Vec<Expr<'b>>) -> T) -> T {
    let builder = Builder::new();
    let types = instance.operands.iter().enumerate();
    let operands = types.map(|(slot, ty)| builder.input(&format!("x{slot}"), ty.dtype, ty.shape.clone())).collect();
    body(&builder, operands)
}

fn operand_name(op: &Op, slot: usize) -> &'static str {
    let names = op.operand_names();
    names.get(slot).or(names.last()).copied().expect("the op has operands")
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Derivative {
    Nothing,
    Zero,
    No,
    Yes { by: BTreeSet<&'static str>, of: BTreeSet<&'static str> },
}

fn derivative(instance: &Instance) -> Derivative {
    with_operands(instance, |builder, operands| {
        let results = builder.push_all(instance.op.clone(), &operands);
        let floats: Vec<usize> = (0..operands.len()).filter(|&slot| operands[slot].dtype().is_float()).collect();
        if floats.is_empty() || !results.iter().any(|result| result.dtype().is_float()) {
            return Derivative::Nothing;
        }
        let mut seeds = Vec::new();
        for result in &results {
            seeds.push(match result.dtype().is_float() {
                true => Cotangent::Value(result.full_like(1.0)),
                false => Cotangent::Zero,
            });
        }
        let wrt: Vec<Expr<'_>> = floats.iter().map(|&slot| operands[slot]).collect();
        let Ok(cotangents) = autodiff::vjp(&results, &seeds, &wrt) else { return Derivative::No };
        let name = |slot: &usize| operand_name(&instance.op, *slot);
        let by: BTreeSet<_> =
            floats.iter().zip(cotangents).filter(|(_, c)| c.value().is_some()).map(|(slot, _)| name(slot)).collect();
        match by.is_empty() {
            true => Derivative::Zero,
            false => Derivative::Yes { by, of: floats.iter().map(name).collect() },
        }
    })
}

fn describe(derivatives: Vec<Derivative>) -> String {
    let (mut all_by, mut all_of) = (BTreeSet::new(), BTreeSet::new());
    let mut worst = Derivative::Nothing;
    for derivative in derivatives {
        match derivative {
            Derivative::Yes { by, of } => {
                all_by.extend(by);
                all_of.extend(of);
            }
            other => worst = worst.max(other),
        }
    }
    match worst {
        _ if !all_by.is_empty() && all_by == all_of => "yes".to_owned(),
        _ if !all_by.is_empty() => format!("by {}", all_by.into_iter().collect::<Vec<_>>().join(", ")),
        Derivative::No => "no".to_owned(),
        Derivative::Zero => "zero".to_owned(),
        _ => "—".to_owned(),
    }
}

fn kind_of(attr: &Attr) -> &'static str {
    match attr {
        Attr::Int(_) => "integer",
        Attr::Float(_) => "number",
        Attr::Flag(_) => "flag",
        Attr::Ints(_) => "integers",
        Attr::Text(_) => "string",
        Attr::Word(_) => "word",
        Attr::Shape(_) => "shape",
        Attr::DType(_) => "dtype",
        Attr::Type(_) => "type",
        Attr::Literal(_) => "tensor",
    }
}

fn index() -> String {
    let instances = instances();
    let mut text = HEADER.to_owned();
    for name in Op::names() {
        let of_name: Vec<&Instance> = instances.iter().filter(|instance| instance.op.name() == name).collect();
        let Some(first) = of_name.first() else { panic!("{name} has no instance in `OpDef::cases`") };
        let op = &first.op;
        let operands: Vec<&str> = op.operand_names().to_vec();
        let attrs: Vec<String> = op.attrs().iter().map(|(name, attr)| format!("`{name}` {}", kind_of(attr))).collect();
        let composite = of_name
            .iter()
            .any(|&instance| with_operands(instance, |_, operands| instance.op.expand(&operands).is_some()));
        writeln!(
            text,
            "| `{name}` | {} | {} | {} | {} | {} | {} |",
            operands.join(", "),
            attrs.join(", "),
            op.results(),
            op.about().replace('|', "\\|"),
            if composite { "composite" } else { "primitive" },
            describe(of_name.into_iter().map(derivative).collect()),
        )
        .expect("a string");
    }
    text
}

#[test]
fn the_op_index_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPS.md");
    let index = index();
    if std::env::var("FOLDGRAD_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&file, &index).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = index.lines().zip(found.lines().chain(std::iter::repeat(""))).find(|(new, old)| new != old);
    assert!(
        found == index,
        "docs/OPS.md is not what the ops say{}\nFOLDGRAD_BLESS=1 cargo test --test ops op_index rewrites it",
        differs.map_or(String::new(), |(new, old)| format!("; the ops say\n  {new}\nthe file says\n  {old}"))
    );
}

/// Nothing else reads a file of `ops` that is in no list: it would not even be compiled.
#[test]
fn every_file_of_ops_is_in_the_list() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &str| std::fs::read_to_string(source.join(path)).expect("a source file");
    let (list, shared) = (read("op/list.rs"), read("ops/mod.rs"));
    for entry in std::fs::read_dir(source.join("ops")).expect("src/ops") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_listed = list.contains(&format!(" {name} {{")) || shared.contains(&format!("mod {name};"));
        assert!(is_listed || name == "mod", "src/ops/{name}.rs has no line in THE list, src/op/list.rs");
    }
}

#[test]
fn names_are_unique_words() {
    let names: Vec<&str> = Op::names().collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "two ops share a name");
    for name in names {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
    }
    for op in instances().into_iter().map(|instance| instance.op) {
        assert!(!op.about().is_empty() && !op.about().contains('\n'), "{}: one line says what it computes", op.name());
        let attrs = op.attrs();
        let unique: BTreeSet<&str> = attrs.iter().map(|(name, _)| *name).collect();
        assert_eq!(unique.len(), attrs.len(), "{}: two attributes share a name", op.name());
    }
}
