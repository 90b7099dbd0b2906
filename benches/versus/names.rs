//! Which loads or servers somebody means who writes a part of a name.

use std::collections::BTreeSet;

/// A short name, which `--list` shows, and one in words.
pub type Names = [&'static str; 2];

/// The places of those that are meant. A whole name means its owner alone, as it may be a part of another.
pub fn meant(asked: &str, all: &[Names]) -> Vec<usize> {
    let asked = asked.to_lowercase();
    let places = |is_meant: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let is_meant = |names: &Names| names.iter().any(|name| is_meant(&name.to_lowercase()));
        (0..all.len()).filter(|at| is_meant(&all[*at])).collect()
    };
    let whole = places(&|name| name == asked);
    if whole.is_empty() { places(&|name| name.contains(&asked)) } else { whole }
}

/// The places of all that are meant.
///
/// # Errors
///
/// If one means nothing; `flag` is where it was written.
pub fn all_meant(flag: &str, asked: &[String], all: &[Names]) -> Result<BTreeSet<usize>, String> {
    let mut places = BTreeSet::new();
    for asked in asked {
        let found = meant(asked, all);
        if found.is_empty() {
            let names: Vec<&str> = all.iter().map(|[name, _]| *name).collect();
            return Err(format!("{flag} {asked}: expected {}, or a part of a name", names.join(", ")));
        }
        places.extend(found);
    }
    Ok(places)
}
