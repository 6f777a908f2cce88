//! Keras's names: `BatchNormalization` becomes `batch_normalization`, then `batch_normalization_1`, and so on.

use hashbrown::{HashMap, HashSet};

/// Keras's `to_snake_case`: a word starts at a capital that follows a small letter, or that precedes one.
pub(super) fn snake_case(kind: &str) -> String {
    let letters: Vec<char> = kind.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut snake = String::with_capacity(kind.len() + 4);
    for (at, &letter) in letters.iter().enumerate() {
        let after_small = at > 0 && letters[at - 1].is_lowercase();
        let before_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && at > 0 && letters[at - 1] != '_' && (after_small || before_small) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Gives out counted names that differ from each other and from the names that users chose.
#[derive(Debug, Default)]
pub(super) struct Namer {
    taken: HashSet<String>,
    counts: HashMap<String, usize>,
}

impl Namer {
    /// Reserves a name that a user chose; `false` if it is taken.
    pub(super) fn reserve(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_owned())
    }

    /// `class`, `class_1`, `class_2` …
    pub(super) fn next(&mut self, class: &str) -> String {
        let count = self.counts.entry(class.to_owned()).or_default();
        loop {
            let name = if *count == 0 { class.to_owned() } else { format!("{class}_{count}") };
            *count += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_keras() {
        for (kind, name) in [
            ("Dense", "dense"),
            ("BatchNormalization", "batch_normalization"),
            ("InputLayer", "input_layer"),
            ("ReLU", "re_lu"),
            ("Conv2D", "conv2d"),
            ("LSTMCell", "lstm_cell"),
            ("my layer", "mylayer"),
        ] {
            assert_eq!(snake_case(kind), name);
        }
    }

    #[test]
    fn a_chosen_name_is_skipped_by_the_count() {
        let mut namer = Namer::default();
        assert!(namer.reserve("dense_1") && !namer.reserve("dense_1"));
        assert_eq!([(); 3].map(|()| namer.next("dense")), ["dense", "dense_2", "dense_3"]);
    }
}
