//! The tables of `costs.md`: what each scenario may cost, and what it has cost since when.
//!
//! A row is `| scenario | bound | base | … |`: a column for each change that was measured, the latest last.

use std::fmt::Write;

/// What a new bound allows over what was seen.
const MARGIN: f64 = 1.25;

/// What was counted, in the order of the table.
pub type Counts = Vec<Count>;

/// What was counted of one scenario.
#[derive(Debug)]
pub struct Count {
    pub name: String,
    pub seen: f64,
    /// What a new bound allows over what was seen where the margin is less than this.
    pub slack: f64,
}

/// One table.
#[derive(Debug, Default)]
pub struct Table {
    /// Names of the columns behind the first one; the first of these is the bound.
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// A count beside its bound.
#[derive(Debug)]
pub struct Judged {
    pub name: String,
    pub seen: f64,
    pub latest: Option<f64>,
    /// `None` if the table has no such row.
    pub bound: Option<f64>,
}

impl Judged {
    pub fn is_met(&self) -> bool {
        self.bound.is_some_and(|bound| self.seen <= bound)
    }
}

impl Table {
    /// The table behind a heading.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(page: &str, heading: &str) -> Result<Table, String> {
        let (_, behind) =
            page.split_once(&format!("## {heading}\n")).ok_or(format!("no heading {heading}"))?;
        let lines = behind.lines().skip_while(|line| !line.starts_with('|'));
        let mut rows = lines.take_while(|line| line.starts_with('|')).map(cells);
        let columns = rows.next().ok_or(format!("no table behind {heading}"))?.split_off(1);
        let mut table = Table { columns, rows: Vec::new() };
        for mut row in rows.skip(1) {
            let values = row.split_off(1);
            if values.len() != table.columns.len() {
                return Err(format!(
                    "{}: {} values for {} columns",
                    row[0],
                    values.len(),
                    table.columns.len()
                ));
            }
            number(&values[0]).ok_or(format!("{}: the bound is not a number: {}", row[0], values[0]))?;
            table.rows.push((row.remove(0), values));
        }
        Ok(table)
    }

    /// Holds counts against their bounds.
    pub fn judge(&self, counts: &Counts) -> Vec<Judged> {
        let judge = |Count { name, seen, .. }: &Count| {
            let row = self.row(name);
            let bound = row.and_then(|values| number(&values[0]));
            let latest = row.and_then(|values| values[1..].iter().rev().find_map(|value| number(value)));
            Judged { name: name.clone(), seen: *seen, latest, bound }
        };
        counts.iter().map(judge).collect()
    }

    /// Writes counts into the column of a change, the last one if it is new. Bounds only go down.
    pub fn record(&mut self, change: &str, counts: &Counts) {
        let at = self.columns.iter().position(|column| column == change).unwrap_or_else(|| {
            self.columns.push(change.to_owned());
            self.rows.iter_mut().for_each(|(_, values)| values.push("–".to_owned()));
            self.columns.len() - 1
        });
        for Count { name, seen, slack } in counts {
            if self.row(name).is_none() {
                self.rows.push((name.clone(), vec!["–".to_owned(); self.columns.len()]));
            }
            let (_, values) = self.rows.iter_mut().find(|(known, _)| known == name).expect("it is there now");
            values[at] = show(*seen);
            let allowed = (seen * MARGIN).max(seen + slack);
            let bound = number(&values[0]).map_or(allowed, |bound| bound.min(allowed));
            values[0] = show(bound);
        }
    }

    /// The names of its rows.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(name, _)| name.as_str())
    }

    /// Puts it in the place of the one behind a heading of a page.
    pub fn put_into(&self, page: &str, heading: &str) -> String {
        let heading = format!("## {heading}\n");
        let (before, behind) = page.split_once(&heading).unwrap_or((page, ""));
        let start = behind.find("\n|").map_or(behind.len(), |at| at + 1);
        let (text, rest) = behind.split_at(start);
        let end = rest.lines().take_while(|line| line.starts_with('|')).map(|line| line.len() + 1).sum();
        let rest = rest.get(end..).unwrap_or_default();
        format!("{before}{heading}{text}{}{rest}", self.show())
    }

    fn show(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "| scenario | {} |", self.columns.join(" | "));
        let _ = writeln!(out, "|---|{}", "--:|".repeat(self.columns.len()));
        for (name, values) in &self.rows {
            let _ = writeln!(out, "| {name} | {} |", values.join(" | "));
        }
        out
    }

    fn row(&self, name: &str) -> Option<&Vec<String>> {
        self.rows.iter().find(|(known, _)| known == name).map(|(_, values)| values)
    }
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// A count as a table has it.
pub fn show(count: f64) -> String {
    if count < 100.0 {
        return format!("{count:.2}");
    }
    let digits = format!("{count:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn number(shown: &str) -> Option<f64> {
    shown.replace(',', "").parse().ok()
}
