//! Every metric is documented, and every name that anybody is told to use is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::page::{scrape, with_admin};
use crate::support::TestServer;

/// Names of the families on the page, as queries use them.
fn served() -> BTreeSet<String> {
    let server = TestServer::start(with_admin());
    let page = scrape(&server);
    page.families.into_iter().map(|(name, _)| name).collect()
}

/// Words that begin like our metrics, and those that processes have.
fn names_in(text: &str) -> BTreeSet<String> {
    let in_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !in_name(character));
    words
        .filter(|word| word.starts_with("fanfare_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The family that a name in a query belongs to: histograms have three names each.
fn family(name: &str, served: &BTreeSet<String>) -> bool {
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
    served.contains(name) || parts.into_iter().any(|name| served.contains(name))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let readme = include_str!("../../README.md");
    let served = served();
    let rows: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split('`').next())
        .map(|name| name.split('{').next().unwrap_or_default().to_owned())
        .filter(|name| name.starts_with("fanfare_") || name.starts_with("process_"))
        .collect();
    let of_shards = |name: &&String| name.starts_with("fanfare_shard_");
    let whole: BTreeSet<String> = served.iter().filter(|name| !of_shards(name)).cloned().collect();
    assert_eq!(rows, whole, "rows of the table, and families on the page");
    for name in served.iter().filter(of_shards) {
        assert!(served.contains(&name.replace("fanfare_shard_", "fanfare_")), "{name} has no total");
    }
}

#[test]
fn every_name_in_alerts_dashboards_and_the_readme_is_on_the_page() {
    let served = served();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = ["yml", "yaml", "json", "rules"];
    let mut files: Vec<PathBuf> = files_below(&root.join("deploy"));
    files.retain(|path| path.extension().is_some_and(|ending| told.iter().any(|known| ending == *known)));
    files.push(root.join("README.md"));
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        for name in names_in(&text).iter().filter(|name| !name.ends_with('_')) {
            assert!(family(name, &served), "{}: there is no metric {name}", file.display());
        }
    }
}

#[test]
fn the_check_sees_a_name_that_is_not_there() {
    let served = BTreeSet::from(["fanfare_rooms".to_owned(), "fanfare_lag_messages".to_owned()]);
    let names = names_in("rate(fanfare_roms[5m]) / fanfare_lag_messages_bucket{le=\"1\"} + fanfare_rooms");
    let missing: Vec<&String> = names.iter().filter(|name| !family(name, &served)).collect();
    assert_eq!(missing, ["fanfare_roms"]);
}
