//! `Model::summary`: Keras 3's table, character for character where the text fits its columns; where Keras would cut a
//! long name short, the column is widened instead.

use super::model::{Definition, Model};
use super::{VariableKind, VariableSpec};
use crate::ir::TensorType;
use std::fmt::Write;

/// One layer's cells.
struct Row {
    cells: Vec<String>,
}

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq)]
enum Align {
    Left,
    Right,
}

struct Column {
    header: &'static str,
    width: usize,
    align: Align,
}

// The widths that Keras gives its columns on a terminal of 80 characters.
const CHAIN: [Column; 3] = [
    Column { header: "Layer (type)", width: 31, align: Align::Left },
    Column { header: "Output Shape", width: 22, align: Align::Left },
    Column { header: "Param #", width: 13, align: Align::Right },
];
const GRAPH: [Column; 4] = [
    Column { header: "Layer (type)", width: 19, align: Align::Left },
    Column { header: "Output Shape", width: 17, align: Align::Left },
    Column { header: "Param #", width: 10, align: Align::Right },
    Column { header: "Connected to", width: 17, align: Align::Left },
];

impl Model {
    /// Keras's table: a row for each layer with its output shape and number of parameters, and the totals.
    pub fn summary(&self) -> String {
        render(self)
    }
}

fn render(model: &Model) -> String {
    let chain = is_chain(model);
    let columns: &[Column] = if chain { &CHAIN } else { &GRAPH };
    let mut rows = rows(model);
    for row in &mut rows {
        row.cells.truncate(columns.len());
    }
    let mut text = format!("Model: \"{}\"\n", model.name());
    write_table(&mut text, columns, &rows);
    let count = |of: &dyn Fn(&VariableSpec) -> bool| -> usize {
        model.variables().iter().filter(|spec| of(spec)).map(VariableSpec::len).sum()
    };
    let trainable = count(&|spec| spec.is_trainable());
    let frozen = count(&|spec| spec.kind == VariableKind::NonTrainable);
    for (label, count) in [("Total", trainable + frozen), ("Trainable", trainable), ("Non-trainable", frozen)] {
        let _ = write!(text, "\n {label} params: {} ({})", thousands(count), memory(count));
    }
    text
}

/// Whether the model is one line of layers, each used once; then the last column would say nothing.
fn is_chain(model: &Model) -> bool {
    let mut used = vec![false; model.structure.layers.len()];
    model.structure.definitions.iter().enumerate().all(|(index, definition)| match definition {
        Definition::Input { .. } => index == 0,
        Definition::Call { layer, inputs, .. } => {
            inputs[..] == [index.wrapping_sub(1)] && !std::mem::replace(&mut used[*layer], true)
        }
    })
}

fn rows(model: &Model) -> Vec<Row> {
    let structure = &model.structure;
    // Which call of its layer a value is, for `dense[1][0]`.
    let mut calls = vec![0usize; structure.layers.len()];
    let mut node = vec![0usize; structure.definitions.len()];
    let mut row_of: Vec<Option<usize>> = vec![None; structure.layers.len()];
    let mut rows: Vec<Row> = Vec::new();
    for (index, definition) in structure.definitions.iter().enumerate() {
        let shape = shape(&model.types[index]);
        match definition {
            Definition::Input { name, .. } => {
                if structure.kind != "Sequential" {
                    let cells = [format!("{name} (InputLayer)"), shape, "0".to_owned(), "-".to_owned()];
                    rows.push(Row { cells: cells.into() });
                }
            }
            Definition::Call { layer, inputs, .. } => {
                node[index] = calls[*layer];
                calls[*layer] += 1;
                let entry = &structure.layers[*layer];
                let links: Vec<String> =
                    inputs.iter().map(|&input| format!("{}[{}][0]", structure.producer(input), node[input])).collect();
                let links = links.join(", ");
                match row_of[*layer] {
                    Some(row) => {
                        rows[row].cells[1] = shape;
                        let _ = write!(rows[row].cells[3], ", {links}");
                    }
                    None => {
                        row_of[*layer] = Some(rows.len());
                        let name = format!("{} ({})", entry.name, entry.layer.kind());
                        rows.push(Row { cells: vec![name, shape, thousands(parameters(model, &entry.name)), links] });
                    }
                }
            }
        }
    }
    rows
}

/// Parameters and statistics of a layer; names hold no `/`, so the prefix is the layer's alone.
fn parameters(model: &Model, layer: &str) -> usize {
    let of_layer = |spec: &&VariableSpec| {
        spec.kind != VariableKind::Seed && spec.name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('/'))
    };
    model.variables().iter().filter(of_layer).map(VariableSpec::len).sum()
}

fn shape(ty: &TensorType) -> String {
    // The batch, and any other size that is open, is `None` in Keras.
    let dim = |size: Option<usize>| size.map_or_else(|| "None".to_owned(), |size| size.to_string());
    let dims: Vec<String> = ty.shape.iter().map(|size| dim(size.known())).collect();
    format!("({})", dims.join(", "))
}

/// `1234567` as `1,234,567`.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The size of that many f32 numbers, as Keras writes it.
fn memory(count: usize) -> String {
    let mut size = 4.0 * count as f64;
    let mut units = ["B", "KB", "MB", "GB", "TB", "PB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if size < 1024.0 || units.peek().is_none() {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    String::new()
}

fn write_table(text: &mut String, columns: &[Column], rows: &[Row]) {
    let longest_word = |cell: &str| cell.split(' ').map(width).max().unwrap_or(0);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| rows.iter().map(|row| longest_word(&row.cells[at])).fold(column.width, usize::max))
        .collect();
    let rule = |text: &mut String, [left, line, cross, right]: [char; 4]| {
        text.push(left);
        for (at, width) in widths.iter().enumerate() {
            if at > 0 {
                text.push(cross);
            }
            text.extend(std::iter::repeat_n(line, width + 2));
        }
        text.push(right);
    };
    let line = |text: &mut String, bar: char, cells: &[&str]| {
        text.push(bar);
        for (at, cell) in cells.iter().enumerate() {
            let padding = " ".repeat(widths[at] - width(cell));
            let _ = match columns[at].align {
                Align::Left => write!(text, " {cell}{padding} {bar}"),
                Align::Right => write!(text, " {padding}{cell} {bar}"),
            };
        }
        text.push('\n');
    };
    rule(text, ['┏', '━', '┳', '┓']);
    text.push('\n');
    line(text, '┃', &columns.iter().map(|column| column.header).collect::<Vec<_>>());
    rule(text, ['┡', '━', '╇', '┩']);
    text.push('\n');
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            rule(text, ['├', '─', '┼', '┤']);
            text.push('\n');
        }
        let cells: Vec<Vec<String>> = row.cells.iter().zip(&widths).map(|(cell, &width)| wrap(cell, width)).collect();
        for height in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let at_height: Vec<&str> = cells.iter().map(|lines| lines.get(height).map_or("", String::as_str)).collect();
            line(text, '│', &at_height);
        }
    }
    rule(text, ['└', '─', '┴', '┘']);
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The words of `text` in lines of at most `limit` characters.
fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_keras_writes_them() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(thousands), ["0", "12", "999", "1,000", "1,234,567"]);
        let sizes = [0, 1200, 317_410, 318_610, usize::pow(2, 30)];
        assert_eq!(sizes.map(memory), ["0.00 B", "4.69 KB", "1.21 MB", "1.22 MB", "4.00 GB"]);
    }
}
