//! The order of what is run: in each round every load, under each load every server, in an order that changes.

use std::path::PathBuf;
use std::thread;

use crate::cells::{Cell, Work};
use crate::load::{Length, run};
use crate::order::order;
use crate::peers::Server;
use crate::processes::{Cores, start};
use crate::report::digits;
use crate::results::{CellResults, Measured, Row};

/// What is run.
pub struct Plan {
    pub cells: Vec<Cell>,
    pub servers: Vec<Server>,
    pub rounds: usize,
    pub length: Length,
    pub cores: Cores,
    /// For files of servers that need some.
    pub scratch: PathBuf,
}

impl Plan {
    /// Nothing that was measured, yet.
    fn empty(&self) -> Vec<CellResults> {
        let row = |server: &Server| Row { server: server.key(), rounds: Vec::new() };
        let rows = |cell: &Cell| self.servers.iter().filter(|server| server.does(cell)).map(row).collect();
        self.cells.iter().map(|cell| CellResults { cell: cell.clone(), rows: rows(cell) }).collect()
    }

    /// All rounds, one server at a time; and what failed.
    pub fn one_by_one(&self) -> (Vec<CellResults>, Vec<String>) {
        let (mut results, mut failures) = (self.empty(), Vec::new());
        for round in 0..self.rounds {
            for (cell, results) in self.cells.iter().zip(&mut results) {
                if round >= cell.rounds_max {
                    continue;
                }
                for at in order(results.rows.len(), round) {
                    let row = &mut results.rows[at];
                    let measured = self.measure(row.server, cell);
                    eprintln!(
                        "round {} of {}: {}: {}",
                        round + 1,
                        self.rounds,
                        cell.name,
                        said(row.server, cell, &measured)
                    );
                    row.rounds.push(kept(measured, row.server, cell, &mut failures));
                }
            }
        }
        (results, failures)
    }

    /// One round, all loads at the same time: it shows that they work, and no figure means anything.
    pub fn all_at_once(&self) -> (Vec<CellResults>, Vec<String>) {
        let (mut results, mut failures) = (self.empty(), Vec::new());
        thread::scope(|scope| {
            let mut running = Vec::new();
            for (cell, results) in self.cells.iter().zip(&mut results) {
                for row in &mut results.rows {
                    let server = row.server;
                    running.push((cell, row, scope.spawn(move || self.measure(server, cell))));
                }
            }
            for (cell, row, thread) in running {
                let measured = thread.join().expect("a measurement does not panic");
                row.rounds.push(kept(measured, row.server, cell, &mut failures));
            }
        });
        (results, failures)
    }

    /// A fresh server under one load.
    fn measure(&self, server: &str, cell: &Cell) -> Result<Measured, String> {
        let server =
            self.servers.iter().find(|known| known.key() == server).expect("rows are made of servers");
        let scratch = self.scratch.join(format!("versus-{}-{}", server.key(), cell.name));
        let launch = server.launch(cell, self.cores.server.id, &scratch)?;
        let running = start(launch.command, &launch.ready, self.cores.server)?;
        run(server, &running, cell, self.length, self.cores)
    }
}

fn kept(
    measured: Result<Measured, String>,
    server: &str,
    cell: &Cell,
    failures: &mut Vec<String>,
) -> Option<Measured> {
    match measured {
        Ok(measured) => Some(measured),
        Err(why) => {
            failures.push(format!("{}, {server}: {why}", cell.name));
            None
        }
    }
}

fn said(server: &str, cell: &Cell, measured: &Result<Measured, String>) -> String {
    match measured {
        Ok(measured) if cell.work == Work::Idle => {
            format!("{server} {} bytes each", digits(measured.rss_bytes))
        }
        Ok(measured) => format!("{server} {} µs, {}/s", digits(measured.cpu_us), digits(measured.rate)),
        Err(why) => format!("{server} FAILED: {why}"),
    }
}
