//! The recipe's text.

use std::fmt::Write;

use super::Program;
use super::carrier::Keys;
use crate::recipe::StageName;
use crate::recipe::kind::spelled;
use crate::recipe::schema;

/// One table, its keys in the schema's groups. A comment names the key that a value comes from,
/// where that is another.
pub(super) fn recipe(program: Program, file: &str, stage: StageName, keys: &Keys) -> String {
    let name = std::path::Path::new(file).file_name();
    let file = name.map_or(file.into(), |name| name.to_string_lossy());
    let program = program.name();
    let mut text = format!(
        "# Imported from {file}, a configuration of {program}.\n\
         # Run it with: trainer --stage {stage} --recipe THIS_FILE\n\n[{stage}]\n"
    );
    for group in schema::groups(stage) {
        let mut lines = String::new();
        for key in group.keys {
            let Some(carried) = keys.get(key.name) else {
                continue;
            };
            let origin = match &carried.from {
                None => format!("  # {program}'s default"),
                Some(from) if from == key.name => String::new(),
                Some(from) => format!("  # {from}"),
            };
            let value = spelled(&carried.value);
            writeln!(lines, "{} = {value}{origin}", key.name).expect("a string takes text");
        }
        if !lines.is_empty() {
            write!(text, "\n# ---- {} ----\n{lines}", group.title).expect("a string takes text");
        }
    }
    text
}
