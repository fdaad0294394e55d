//! Operations that a forward pass needs, and the time that the machine needs for them at its peak.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

/// Widths of a BERT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Widths {
    pub layers: u64,
    pub hidden: u64,
    pub intermediate: u64,
}

impl Widths {
    /// From `config.json` of a model folder.
    pub fn read(model: &Path) -> anyhow::Result<Self> {
        let path = model.join("config.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let config: Value =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let number =
            |key: &str| config[key].as_u64().with_context(|| format!("{}: no `{key}`", path.display()));
        Ok(Self {
            layers: number("num_hidden_layers")?,
            hidden: number("hidden_size")?,
            intermediate: number("intermediate_size")?,
        })
    }

    /// Operations for one text: products with weights, and attention, which grows with the square of the length. A multiply-add is
    /// two operations. Padding is no useful work and does not count.
    pub fn operations(self, tokens: u64) -> f64 {
        let Self { layers, hidden, intermediate } = self;
        let per_token = 2 * layers * (4 * hidden * hidden + 2 * hidden * intermediate);
        (tokens * per_token + 4 * layers * hidden * tokens * tokens) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINILM: Widths = Widths { layers: 6, hidden: 384, intermediate: 1536 };

    #[test]
    fn operations_are_those_of_the_products() {
        // 21.23 MFLOP for each token, and 9,216 for each pair of tokens.
        assert_eq!(MINILM.operations(1), 21_233_664.0 + 9_216.0);
        assert_eq!(MINILM.operations(34), 34.0 * 21_233_664.0 + 34.0 * 34.0 * 9_216.0);
    }
}
