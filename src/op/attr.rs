//! Attributes of ops as the text form writes them.

use crate::ir::{DType, Dim, Literal, Shape, TensorType, is_symbol, quote, unquote};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A float attribute, compared and hashed by its bits so that ops can be hash-consed.
#[derive(Clone, Copy, Debug)]
pub struct Scalar(pub f64);

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// One attribute value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attr {
    Int(usize),
    Float(f64),
    Flag(bool),
    Ints(Vec<usize>),
    Text(String),
    Word(&'static str),
    Shape(Shape),
    DType(DType),
    Type(TensorType),
    Literal(Literal),
}

/// An attribute is missing or not of the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attribute `{name}`: expected {expected}")]
pub struct AttrError {
    /// The attribute's name.
    pub name: String,
    /// What was expected.
    pub expected: &'static str,
}

/// The text of each attribute as the parser read it; an op takes out what it knows.
#[derive(Clone, Debug, Default)]
pub struct Attrs(pub(crate) Vec<(String, String)>);

impl Attrs {
    /// Removes and returns the raw text of an attribute.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(have, _)| have == name)?;
        Some(self.0.remove(at).1)
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, AttrError> {
        let error = || AttrError { name: name.to_owned(), expected };
        self.take(name).and_then(|text| parse(&text)).ok_or_else(error)
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no such number.
    pub fn int(&mut self, name: &str) -> Result<usize, AttrError> {
        self.parsed(name, "a non-negative integer", |text| text.parse().ok())
    }

    /// A float in Rust's notation, `inf`, `-inf` or `nan`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no number.
    pub fn float(&mut self, name: &str) -> Result<f64, AttrError> {
        self.parsed(name, "a number", |text| text.parse().ok())
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is another word.
    pub fn flag(&mut self, name: &str) -> Result<bool, AttrError> {
        self.parsed(name, "true or false", |text| text.parse().ok())
    }

    /// A list of non-negative integers, `[0,2]`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no such list.
    pub fn ints(&mut self, name: &str) -> Result<Vec<usize>, AttrError> {
        self.parsed(name, "a list of integers such as [0,1]", |text| {
            list(text)?.into_iter().map(|item| item.parse().ok()).collect()
        })
    }

    /// A quoted string.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no such string.
    pub fn text(&mut self, name: &str) -> Result<String, AttrError> {
        self.parsed(name, "a quoted string", unquote)
    }

    /// One of a set of words.
    ///
    /// # Errors
    /// The attribute is missing, or its text is another word.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&'static str, T)]) -> Result<T, AttrError> {
        self.parsed(name, "a word that this op knows", |text| {
            words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value)
        })
    }

    /// A shape, `[batch,784]`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no shape.
    pub fn shape(&mut self, name: &str) -> Result<Shape, AttrError> {
        self.parsed(name, "a shape such as [batch,784]", parse_shape)
    }

    /// An element type.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no element type.
    pub fn dtype(&mut self, name: &str) -> Result<DType, AttrError> {
        self.parsed(name, "f32, f64, i32 or bool", DType::from_name)
    }

    /// A tensor type, `f32[batch,784]`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no type.
    pub fn ty(&mut self, name: &str) -> Result<TensorType, AttrError> {
        self.parsed(name, "a type such as f32[batch,784]", parse_type)
    }

    /// A literal tensor, `f32[2] [1.0,2.5]`.
    ///
    /// # Errors
    /// The attribute is missing, or its text is no such tensor, or one whose values do not fit its type.
    pub fn literal(&mut self, name: &str) -> Result<Literal, AttrError> {
        self.parsed(name, "a literal such as f32[2] [1.0,2.5]", parse_literal)
    }
}

pub(crate) fn parse_shape(text: &str) -> Option<Shape> {
    list(text)?
        .into_iter()
        .map(|item| match item.parse::<usize>() {
            Ok(size) => Some(size.into()),
            Err(_) if is_symbol(item) => Some(item.into()),
            Err(_) => unquote(item).map(|name| Dim::symbol(&name)),
        })
        .collect::<Option<Shape>>()
}

pub(crate) fn parse_type(text: &str) -> Option<TensorType> {
    let (dtype, shape) = text.split_at(text.find('[')?);
    Some(TensorType::new(DType::from_name(dtype)?, parse_shape(shape)?))
}

fn parse_literal(text: &str) -> Option<Literal> {
    use crate::ir::Tensor;
    let (ty, values) = text.split_once(' ')?;
    let ty = parse_type(ty)?;
    let shape = ty.shape.known()?;
    let items = list(values)?;
    fn all<T: std::str::FromStr>(items: &[&str]) -> Option<Vec<T>> {
        items.iter().map(|item| item.parse().ok()).collect()
    }
    let tensor = match ty.dtype {
        DType::F32 => Tensor::new(shape, all::<f32>(&items)?),
        DType::F64 => Tensor::new(shape, all::<f64>(&items)?),
        DType::I32 => Tensor::new(shape, all::<i32>(&items)?),
        DType::Bool => Tensor::new(shape, all::<bool>(&items)?),
    };
    tensor.ok().map(Literal::new)
}

/// The items of `[a,b,c]`.
fn list(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let (mut quoted, mut escaped) = (false, false);
    let between = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    };
    Some(inner.split(between).map(str::trim).collect())
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(value) => write!(f, "{value}"),
            Attr::Float(value) => write!(f, "{value:?}"),
            Attr::Flag(value) => write!(f, "{value}"),
            Attr::Ints(values) => write_list(f, values.iter()),
            Attr::Text(text) => f.write_str(&quote(text)),
            Attr::Word(word) => f.write_str(word),
            Attr::Shape(shape) => write!(f, "{shape}"),
            Attr::DType(dtype) => write!(f, "{dtype}"),
            Attr::Type(ty) => write!(f, "{ty}"),
            Attr::Literal(literal) => {
                write!(f, "{} ", literal.ty())?;
                use crate::ir::TensorData;
                match literal.data() {
                    TensorData::F32(values) => write_list(f, values.iter().map(|v| format!("{v:?}"))),
                    TensorData::F64(values) => write_list(f, values.iter().map(|v| format!("{v:?}"))),
                    TensorData::I32(values) => write_list(f, values.iter()),
                    TensorData::Bool(values) => write_list(f, values.iter()),
                }
            }
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str("]")
}
