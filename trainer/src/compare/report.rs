use super::{Direction, Row, Scope};
use crate::table::aligned;

/// The rows as a table: every block and parameter, and the parts of a block that diverge.
pub fn table([a, b]: [&str; 2], rows: &[Row]) -> String {
    let mut text = format!("a = {a}, b = {b}; errors are ‖b − a‖ / ‖a‖\n");
    for direction in [Direction::Forward, Direction::Backward] {
        let what = match direction {
            Direction::Forward => "forward: activations",
            Direction::Backward => "backward: gradients",
        };
        let header = [what, "same input", "bound", "own path", ""];
        let mut cells = vec![header.map(str::to_owned).to_vec()];
        let shown = rows
            .iter()
            .filter(|row| row.direction == direction)
            .filter(|row| row.scope != Scope::Part || row.diverges());
        cells.extend(shown.map(line));
        text.push('\n');
        text.push_str(&aligned(&cells));
    }
    text
}

fn line(row: &Row) -> Vec<String> {
    let name = match (row.scope, row.direction) {
        (Scope::Block, Direction::Forward) => row.block.to_string(),
        (Scope::Block, Direction::Backward) => format!("{}, {}", row.block, row.name),
        (Scope::Part, _) => format!("  {}, {}", row.block, row.name),
        (Scope::Parameter, _) => format!("  {}", row.name),
    };
    let [error, bound, carried] =
        [row.error, row.bound, row.carried].map(|value| format!("{value:.2e}"));
    let mark = if row.diverges() {
        "✗ diverges"
    } else {
        "✓"
    };
    vec![name, error, bound, carried, mark.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Block, first_diverging};

    fn row(direction: Direction, scope: Scope, name: &str, error: f64) -> Row {
        Row {
            direction,
            block: Block::Layer(2),
            scope,
            name: name.to_owned(),
            error,
            bound: 1e-5,
            carried: 2.0 * error,
        }
    }

    #[test]
    fn a_table_shows_parts_only_where_they_diverge() {
        let rows = [
            row(Direction::Forward, Scope::Part, "q", 1e-7),
            row(Direction::Forward, Scope::Part, "mlp", 0.5),
            row(Direction::Forward, Scope::Block, "output", 1e-7),
            row(Direction::Backward, Scope::Block, "input", 1e-7),
            row(Direction::Backward, Scope::Parameter, "model.w", f64::NAN),
        ];
        let text = table(["cpu", "wgpu"], &rows);
        let want = "a = cpu, b = wgpu; errors are ‖b − a‖ / ‖a‖\n\n\
                    forward: activations  same input    bound  own path            \n  \
                      layer 2, mlp           5.00e-1  1.00e-5    1.00e0  ✗ diverges\n\
                    layer 2                  1.00e-7  1.00e-5   2.00e-7           ✓\n\n\
                    backward: gradients  same input    bound  own path            \n\
                    layer 2, input          1.00e-7  1.00e-5   2.00e-7           ✓\n  \
                      model.w                   NaN  1.00e-5       NaN  ✗ diverges\n";
        assert_eq!(text, want);
        assert_eq!(first_diverging(&rows).map(|row| &*row.name), Some("mlp"));
    }
}
