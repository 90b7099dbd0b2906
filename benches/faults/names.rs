//! Which faults somebody means who writes a number, a key or a part of a name.

use std::collections::BTreeSet;

/// What it is about.
#[derive(Clone, Debug)]
pub struct Title {
    pub number: &'static str,
    /// As `--list` shows it.
    pub key: &'static str,
    pub name: String,
}

impl Title {
    pub fn new(number: &'static str, key: &'static str, name: impl Into<String>) -> Title {
        Title { number, key, name: name.into() }
    }
}

/// The places of those that are meant. A whole key or name means its owner alone, as the key of one is the number
/// of others.
fn meant(asked: &str, all: &[&Title]) -> Vec<usize> {
    let asked = asked.trim().to_lowercase();
    let is = |known: &str| known.to_lowercase() == asked;
    let places = |is_meant: &dyn Fn(&Title) -> bool| -> Vec<usize> {
        (0..all.len()).filter(|at| is_meant(all[*at])).collect()
    };
    let by_part = |title: &Title| !asked.is_empty() && title.name.to_lowercase().contains(&asked);
    let ways: [&dyn Fn(&Title) -> bool; 3] =
        [&|title| is(title.key) || is(&title.name), &|title| is(title.number), &by_part];
    ways.into_iter().map(places).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The places of all that are meant.
///
/// # Errors
///
/// If one means nothing.
pub fn all_meant(select: &[String], all: &[&Title]) -> Result<BTreeSet<usize>, String> {
    let mut places = BTreeSet::new();
    for asked in select {
        let found = meant(asked, all);
        if found.is_empty() {
            let keys: Vec<&str> = all.iter().map(|title| title.key).collect();
            return Err(format!(
                "fault \"{asked}\" (a name, or in the environment FAULTS_SELECT): expected {}, a number such as F1, or \
                 a part of a name, as --list shows them",
                keys.join(", ")
            ));
        }
        places.extend(found);
    }
    Ok(places)
}
