//! Links of the documents lead somewhere.

use crate::none;
use crate::source::{files, project};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut documents = files(&project().join("docs"), "md");
    documents.extend(fs::read_dir(project()).expect("the project").map(|entry| entry.expect("an entry").path()));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut offences = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is UTF-8");
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&text) {
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            let missing = !target.exists()
                || anchor.is_some_and(|anchor| {
                    let is_document = target.extension().is_some_and(|extension| extension == "md");
                    is_document && !anchors(&fs::read_to_string(&target).unwrap_or_default()).contains(anchor)
                });
            if missing {
                offences.push(format!("{}: {link}", document.display()));
            }
        }
    }
    none("a link of a document leads to a file, and its anchor to a heading", offences);
}

/// `text` without fenced blocks and inline code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of links that stay inside the project.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.match_indices("](").filter_map(|(at, _)| prose[at + 2..].split_once(')'));
    let inline = inline.map(|(link, _)| link.split_whitespace().next().unwrap_or("").to_owned());
    let references = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let references = references.map(|(_, link)| link.trim().to_owned());
    inline.chain(references).filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// The anchors of a document's headings: lower case, without punctuation, spaces as hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    let slug = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

mod reading {
    use super::*;

    #[test]
    fn links_and_anchors_are_found() {
        let text =
            "# One, two: `three`\n[a](b.md#c \"t\") `[x](y)` [w](https://e.org)\n```\n[f](g)\n# no\n```\n[r]: s.md\n";
        assert_eq!(links(text), ["b.md#c", "s.md"]);
        assert_eq!(anchors(text), BTreeSet::from(["one-two-three".to_owned()]));
    }
}
