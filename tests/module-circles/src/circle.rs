//! The circles among references: sets of modules of which each can be reached from each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// A place where one module refers to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub from: String,
    pub to: String,
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

/// Modules that refer to each other, and one reference for each pair of which the first refers to the second.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    pub modules: Vec<String>,
    pub references: Vec<Reference>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{} modules refer to each other in a circle: {}",
            self.modules.len(),
            self.modules.join(" ")
        )?;
        for Reference {
            from,
            to,
            file,
            line,
        } in &self.references
        {
            write!(f, "\n    {from} -> {to}  {}:{line}", file.display())?;
        }
        Ok(())
    }
}

/// The strongly connected components of more than one module.
pub fn circles(references: impl Iterator<Item = Reference>) -> Vec<Circle> {
    let mut edges: BTreeMap<(String, String), Reference> = BTreeMap::new();
    for reference in references {
        edges
            .entry((reference.from.clone(), reference.to.clone()))
            .or_insert(reference);
    }
    let modules: BTreeSet<&str> = edges.keys().map(|(from, _)| from.as_str()).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = modules
        .iter()
        .map(|module| (*module, reach(module, &edges)))
        .collect();
    let mut placed = BTreeSet::new();
    let mut found = Vec::new();
    for module in modules {
        let both_ways = |other: &&str| reached.get(other).is_some_and(|back| back.contains(module));
        let members: Vec<&str> = reached[module].iter().copied().filter(both_ways).collect();
        if members.is_empty() || !placed.insert(members[0]) {
            continue;
        }
        let inside = |(from, to): &(String, String)| {
            members.contains(&from.as_str()) && members.contains(&to.as_str())
        };
        found.push(Circle {
            references: edges
                .iter()
                .filter(|(pair, _)| inside(pair))
                .map(|(_, reference)| reference.clone())
                .collect(),
            modules: members.into_iter().map(str::to_owned).collect(),
        });
    }
    found
}

/// What is reached from a module, itself included where a way leads back.
fn reach<'a>(from: &str, edges: &'a BTreeMap<(String, String), Reference>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for (_, to) in edges.keys().filter(|(from, _)| from == module) {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}
