//! Tables for other programs.

/// Comma-separated values as RFC 4180 has them.
#[derive(Debug, Default)]
pub struct Csv {
    text: String,
}

impl Csv {
    /// A table with a line of titles.
    pub fn new(titles: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(
            &titles
                .iter()
                .map(|title| (*title).to_owned())
                .collect::<Vec<_>>(),
        );
        csv
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        let quoted = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        let cells: Vec<String> = cells.iter().map(quoted).collect();
        self.text.push_str(&cells.join(","));
        self.text.push('\n');
    }

    /// The table.
    pub fn text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_quoted() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.row(&["x, \"y\"".to_owned(), "two\nlines".to_owned()]);
        assert_eq!(csv.text(), "a,b\n\"x, \"\"y\"\"\",\"two\nlines\"\n");
    }
}
