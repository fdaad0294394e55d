//! The codes of the load tests.

mod table;

pub use table::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_code() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");
        let table = diag::markdown(CODES.iter().copied());
        assert!(
            std::fs::read_to_string(page).unwrap().contains(&table),
            "docs/benchmarks.md lacks this table:\n{table}"
        );
    }
}
