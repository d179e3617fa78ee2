//! What no compiler checks: the invariants of ARCHITECTURE.md, read off the source tree.
//!
//! A failure lists every offence as `file:line: what is wrong`.

mod rust_source;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rust_source::{code_of, contains_word, is_word, rust_files};
use toml::{Table, Value};
use tree::{line_of, read, root, table, text_of, tree};

/// Who may use whom. A new arrow is a design decision: say why in the change that draws it.
const ARROWS: [(&str, &[&str]); 8] = [
    ("datasets", &[]),
    ("kernels", &[]),
    ("losses", &["kernels"]),
    ("model", &["kernels"]),
    ("rewards", &[]),
    ("telemetry", &[]),
    // `kernels` for opening devices and for the optimizer's step, which are no matter of a model.
    (
        "trainer",
        &[
            "datasets",
            "kernels",
            "losses",
            "model",
            "rewards",
            "telemetry",
            "tui",
        ],
    ),
    ("tui", &["telemetry"]),
];

/// The crates that never see a tensor.
const WITHOUT_TENSORS: [&str; 4] = ["datasets", "rewards", "telemetry", "tui"];

/// The crates with `unsafe`: kernels and the stand-in for CUDA's libraries, whose functions all have it.
const UNSAFE_CRATES: [&str; 2] = ["kernels/", "stand-ins/cuda/"];

/// The files of other crates with `unsafe`, and what for.
const UNSAFE_FILES: [(&str, &str); 1] = [(
    "model/src/checkpoint/file.rs",
    "maps a checkpoint into memory",
)];

/// The file that reads the machine's clock; the rest of the program takes a `telemetry::Clock`.
const CLOCK_FILE: &str = "telemetry/src/clock.rs";

/// The files of trainer and tui that write a file in place, and why nobody sees it half written.
const WRITING_FILES: [(&str, &str); 3] = [
    (
        "trainer/src/checkpoint.rs",
        "writes into a folder that gets its name when it is whole",
    ),
    (
        "trainer/src/checkpoint/checksums.rs",
        "writes into the same folder",
    ),
    (
        "trainer/src/monitor/memory.rs",
        "sets a counter of the kernel back",
    ),
];

/// The longest a file may be, and the longer ones with the reason why each is not two.
const MAX_LINES: usize = 600;
const LONG_FILES: [(&str, &str); 0] = [];

const FIRST_COMMAND: &str = "cargo run --release -p trainer -- --stage rl";
const TEST_COMMAND: &str = "cargo test --release --workspace";

#[test]
fn crates_depend_on_each_other_only_as_drawn() {
    let mut wrong = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = format!("{name}/Cargo.toml");
        let used = dependencies(&table(&manifest));
        for (other, _) in ARROWS {
            let line = line_of(&manifest, other);
            match (used.contains(other), allowed.contains(&other)) {
                (true, false) => {
                    wrong.push(format!("{manifest}:{line}: `{name}` may not use `{other}`"));
                }
                (false, true) => wrong.push(format!(
                    "{manifest}:1: `{name}` no longer uses `{other}`; take it out of ARROWS"
                )),
                _ => {}
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn data_rewards_telemetry_and_tui_never_see_a_tensor_crate() {
    let lock = table("Cargo.lock");
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages(&lock) {
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let names = dependencies.into_iter().flatten().filter_map(Value::as_str);
        let names = names.filter_map(|name| name.split(' ').next());
        uses.entry(text(package, "name")).or_default().extend(names);
    }
    let mut wrong = Vec::new();
    for name in WITHOUT_TENSORS {
        let (mut seen, mut next) = (BTreeSet::from([name]), vec![name]);
        while let Some(user) = next.pop() {
            for used in uses
                .get(user)
                .into_iter()
                .flatten()
                .filter(|used| seen.insert(used))
            {
                let of_burn = ["burn", "cubecl", "cubek"]
                    .iter()
                    .any(|t| used.starts_with(t));
                if of_burn || ["kernels", "model"].contains(used) {
                    let line = line_of(&format!("{name}/Cargo.toml"), used);
                    wrong.push(format!(
                        "{name}/Cargo.toml:{line}: `{user}` brings in `{used}`"
                    ));
                } else {
                    next.push(used);
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn unsafe_code_stays_where_it_is_listed() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let listed = UNSAFE_FILES.iter().any(|(path, _)| *path == file.path);
        let may = UNSAFE_CRATES
            .iter()
            .any(|crate_| file.path.starts_with(crate_));
        if !listed && !may {
            wrong.extend(file.lines_with("unsafe", "is for kernels/ alone"));
        }
        let is_root = ["src/lib.rs", "src/main.rs"]
            .iter()
            .any(|end| file.path.ends_with(end));
        let has_some = may || file.path.starts_with("model/");
        if is_root && !has_some && !file.code.contains("#![forbid(unsafe_code)]") {
            wrong.push(format!(
                "{}:1: the crate lacks `#![forbid(unsafe_code)]`",
                file.path
            ));
        }
    }
    for (path, reason) in UNSAFE_FILES {
        if !contains_word(&code_of(&read(path)), "unsafe") {
            wrong.push(format!(
                "{path}:1: no longer {reason}; take it out of UNSAFE_FILES"
            ));
        }
    }
    assert_none(&wrong);
}

/// WebGPU promises eight storage buffers. One is kept free, and CubeCL takes one for sizes and
/// scalars; the software GPU has thirty-two, so no launch would fail there.
#[test]
fn a_kernel_takes_six_buffers_at_most() {
    let mut wrong = Vec::new();
    let mut kernels = 0;
    for file in rust_files() {
        let mut rest = &file.code[..];
        while let Some(at) = rest.find("#[cube(launch") {
            rest = &rest[at..];
            let signature = &rest[..rest.find(") {").expect("a kernel has a body")];
            let name = signature.split("fn ").nth(1).expect("a kernel has a name");
            let name = name.split(['<', '(']).next().expect("a name comes first");
            let buffers = signature.matches("&[").count() + signature.matches("&mut [").count();
            if buffers > 6 {
                wrong.push(format!("{}: `{name}` takes {buffers} buffers", file.path));
            }
            kernels += 1;
            rest = &rest[signature.len()..];
        }
    }
    assert!(kernels > 20, "only {kernels} kernels were found");
    assert_none(&wrong);
}

#[test]
fn files_are_short_and_named_by_what_is_in_them() {
    let vague = [
        "base", "common", "helper", "helpers", "misc", "util", "utils",
    ];
    let written_by_hand = ["rs", "toml", "py", "md", "jinja", "wgsl", "sh", "yml"];
    let mut wrong = Vec::new();
    for path in tree() {
        let mut stems = Path::new(&path)
            .iter()
            .filter_map(|part| Path::new(part).file_stem());
        if stems.any(|stem| vague.iter().any(|word| stem == *word)) {
            wrong.push(format!("{path}:1: its name does not say what is in it"));
        }
        if !written_by_hand
            .iter()
            .any(|kind| path.ends_with(&format!(".{kind}")))
        {
            continue;
        }
        let lines = read(&path).lines().count();
        let listed = LONG_FILES.iter().any(|(long, _)| *long == path);
        if lines > MAX_LINES && !listed {
            wrong.push(format!(
                "{path}:{MAX_LINES}: {lines} lines; cut it between its ideas"
            ));
        }
        if lines <= MAX_LINES && listed {
            wrong.push(format!("{path}:1: short again; take it out of LONG_FILES"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_undone() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for word in ["todo!", "unimplemented!", "dbg!"] {
            wrong.extend(file.lines_with(word, "is not for a committed file"));
        }
    }
    let to_do = ["TO", "DO"].concat();
    for path in tree() {
        let Some(text) = text_of(&path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let mut after = line
                .match_indices(&to_do)
                .map(|(at, _)| &line[at + to_do.len()..]);
            if after.any(|rest| !rest.starts_with('(')) {
                wrong.push(format!("{path}:{number}: write {to_do}(name): reason"));
            }
        }
        if path.ends_with(".rs") {
            let code = code_of(&text);
            let skipped = (1..)
                .zip(code.lines())
                .filter(|(_, line)| line.contains("#[ignore"));
            wrong.extend(
                skipped.map(|(number, _)| format!("{path}:{number}: a test that never runs")),
            );
        }
    }
    assert_none(&wrong);
}

#[test]
fn libraries_never_print() {
    let may_print = [
        "trainer/",
        "tui/",
        "tests/",
        "examples/",
        "kernels/benches/",
    ];
    let mut wrong = Vec::new();
    for file in rust_files() {
        if !may_print.iter().any(|folder| file.path.starts_with(folder)) {
            for word in ["println!", "eprintln!", "print!", "eprint!"] {
                wrong.extend(file.lines_with(word, "is for trainer and tui; return the text"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn time_comes_from_the_clock_and_files_appear_whole() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let may_measure = ["tests/", "kernels/benches/"];
        let measures = may_measure
            .iter()
            .any(|folder| file.path.starts_with(folder));
        if file.path != CLOCK_FILE && !measures {
            for word in ["Instant::now", "SystemTime::now"] {
                wrong.extend(file.lines_with(word, "is for Clock; take one, a test can set it"));
            }
        }
        let may_write = WRITING_FILES.iter().any(|(path, _)| *path == file.path);
        let in_run_dir = ["trainer/", "tui/"]
            .iter()
            .any(|crate_| file.path.starts_with(crate_));
        if in_run_dir && !may_write {
            wrong.extend(file.lines_with("fs::write", "can be seen half done; use write_atomic"));
        }
    }
    assert_none(&wrong);
}

/// Cargo ignores a patch whose version does not fit, and the download of LLVM comes back.
#[test]
fn the_stand_in_for_llvm_is_what_cargo_builds() {
    let manifest = "stand-ins/cubecl-llvm/Cargo.toml";
    let (lock, stand_in) = (table("Cargo.lock"), table(manifest));
    let packages = packages(&lock);
    let find = |name: &str| {
        packages
            .iter()
            .find(|package| text(package, "name") == name)
    };
    let mut wrong = Vec::new();
    let stands_for = stand_in["package"]["version"].as_str();
    let cubecl = find("cubecl").map(|package| text(package, "version"));
    if stands_for != cubecl {
        let line = line_of(manifest, "version");
        wrong.push(format!(
            "{manifest}:{line}: version {stands_for:?}, but cubecl is {cubecl:?}"
        ));
    }
    // `cargo test --workspace` selects this package and `cargo run` does not: default features
    // would make it, and all of burn on top of it, two builds.
    if stand_in
        .get("features")
        .is_some_and(|features| features.get("default").is_some())
    {
        let line = line_of(manifest, "default");
        wrong.push(format!(
            "{manifest}:{line}: default features make the tests build burn again"
        ));
    }
    match find("cubecl-llvm") {
        None => wrong.push("Cargo.lock:1: nothing uses cubecl-llvm; remove the stand-in".into()),
        Some(package) if package.contains_key("source") => {
            wrong.push("Cargo.lock:1: cubecl-llvm is the real one, the patch is not used".into());
        }
        Some(_) => {}
    }
    for name in packages.iter().map(|package| text(package, "name")) {
        if name.starts_with("tracel-llvm") || name == "llvm-sys" {
            wrong.push(format!("Cargo.lock:1: `{name}` downloads or links LLVM"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn readme_begins_with_the_main_job_and_the_tests_that_ci_runs() {
    let readme = read("README.md");
    let first_two: Vec<&str> = commands(&readme).take(2).collect();
    assert_eq!(
        first_two,
        [FIRST_COMMAND, TEST_COMMAND],
        "the first commands of README.md"
    );
    let script = read(".ci/run");
    let lines = (1..)
        .zip(script.lines())
        .filter(|(_, line)| !line.trim_start().starts_with('#'));
    let tests: Vec<(usize, &str)> = lines
        .filter(|(_, line)| line.contains("cargo test") || line.contains("nextest"))
        .collect();
    assert!(!tests.is_empty(), ".ci/run:1: runs no test");
    let others = tests
        .iter()
        .filter(|(_, line)| !line.ends_with(TEST_COMMAND));
    let wrong = others.map(|(number, line)| format!(".ci/run:{number}: not README's: {line}"));
    assert_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let folders = ["home", "root", "tmp", "work"].map(|folder| format!("/{folder}"));
    let mut wrong = Vec::new();
    for path in tree() {
        let Some(text) = text_of(&path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let named = folders.iter().filter(|folder| begins_a_path(line, folder));
            wrong.extend(named.map(|folder| format!("{path}:{number}: a path in {folder}")));
        }
    }
    assert_none(&wrong);
}

#[test]
fn documents_name_files_and_folders_that_exist() {
    let mut wrong = Vec::new();
    let files = tree();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        let folder = root().join(path);
        let folder = folder.parent().expect("a file is in a folder");
        for (number, line) in (1..).zip(read(path).lines()) {
            let links = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            for link in links.filter(|link| !link.contains("://")) {
                let file = link.split('#').next().unwrap_or_default();
                if !folder.join(file).exists() {
                    wrong.push(format!("{path}:{number}: there is no {link}"));
                }
            }
            let words = line.split(|c: char| c.is_whitespace() || "`()|,;:".contains(c));
            for name in words.filter(|word| is_path_of_ours(word, &files)) {
                // In the part about a crate its folders go by their own names.
                let inside = format!("/{name}");
                let exists =
                    root().join(name).exists() || files.iter().any(|f| f.contains(&inside));
                if folder == root() && !exists {
                    wrong.push(format!("{path}:{number}: there is no {name}"));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// Whether an absolute path in this folder begins somewhere in the line.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let goes_on = after.is_some_and(|c| is_word(c) || c == '-');
        !before.is_some_and(|c| is_word(c) || ".-~/})>\\".contains(c)) && !goes_on
    })
}

/// Whether a word of a document claims to be a file or folder of this repository.
fn is_path_of_ours(word: &str, files: &[String]) -> bool {
    let plain = word.chars().all(|c| is_word(c) || "./-".contains(c));
    let first = word.split_once('/').map_or("", |(first, _)| first);
    let in_a_folder = files
        .iter()
        .any(|file| file.split('/').next() == Some(first));
    plain && !first.is_empty() && (word.ends_with('/') || in_a_folder)
}

/// The commands in the shell blocks of a Markdown file.
fn commands(markdown: &str) -> impl Iterator<Item = &str> {
    let blocks = markdown.split("```").skip(1).step_by(2);
    let shell = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    shell
        .flat_map(str::lines)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The names of everything that a manifest depends on, on any system, in any role.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let mut names = BTreeSet::new();
    for table in targets.chain([manifest]) {
        for role in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let listed = table.get(role).and_then(Value::as_table);
            names.extend(listed.into_iter().flat_map(Table::keys).cloned());
        }
    }
    names
}

fn packages(lock: &Table) -> Vec<&Table> {
    let packages = lock["package"].as_array().expect("a list of packages");
    packages.iter().filter_map(Value::as_table).collect()
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table[key]
        .as_str()
        .unwrap_or_else(|| panic!("`{key}` is not text in {table}"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
