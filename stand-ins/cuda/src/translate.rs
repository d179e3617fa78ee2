//! CUDA C++ as cubecl writes it, turned into C++ for the host.

use std::collections::HashMap;
use std::fmt::Write;

/// Headers of CUDA whose content `cuda.h` has.
const KNOWN_HEADERS: [&str; 3] = ["cuda_fp16.h", "cuda_bf16.h", "mma.h"];

/// The text for the host's compiler, with a function `launch_NAME` for each kernel that takes its
/// arguments as the driver does.
pub(crate) fn translate(source: &str) -> Result<String, String> {
    let text = renumbered(&without_known_headers(source));
    let text = shared_memory_as_pointer(&text);
    let text = assembly_as_calls(&text)?;
    let mut out = format!("namespace program {{\n{text}\n");
    for kernel in kernels(&text) {
        writeln!(
            out,
            "extern \"C\" void launch_{kernel}(void** arguments) {{ cuda_on_cpu::call({kernel}, arguments); }}"
        )
        .expect("a string grows");
    }
    out.push_str("}\n");
    Ok(out)
}

/// Values are named `v` and a number, which differs from run to run: numbered by where they first stand,
/// the same kernel is the same text.
fn renumbered(text: &str) -> String {
    let mut numbers = HashMap::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let length = rest[start..].find(|c| !is_word(c));
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(length.unwrap_or(word.len()));
        out.push_str(before);
        let digits = word.strip_prefix('v').unwrap_or_default();
        let length = digits.find(|c: char| !c.is_ascii_digit());
        let (number, suffix) = digits.split_at(length.unwrap_or(digits.len()));
        if number.is_empty() {
            out.push_str(word);
        } else {
            let next = numbers.len();
            let number = numbers.entry(number).or_insert(next);
            write!(out, "v{number}{suffix}").expect("a string grows");
        }
        rest = after;
    }
    out + rest
}

fn without_known_headers(source: &str) -> String {
    let known = |line: &str| {
        let header = line.trim().strip_prefix("#include <");
        header.is_some_and(|name| KNOWN_HEADERS.iter().any(|known| name.starts_with(known)))
    };
    let lines = source.lines();
    lines
        .map(|line| if known(line) { "" } else { line })
        .fold(String::with_capacity(source.len()), |text, line| {
            text + line + "\n"
        })
}

/// `extern __shared__ __align__(16) char NAME[];` declares what the block was given.
fn shared_memory_as_pointer(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("extern __shared__") {
        let (before, declaration) = rest.split_at(at);
        let end = declaration.find(';').unwrap_or(declaration.len());
        let name = declaration[..end].trim_end_matches("[]");
        let name = name.rsplit(' ').next().unwrap_or_default();
        out.push_str(before);
        write!(out, "char* const {name} = cuda_on_cpu::shared()").expect("a string grows");
        rest = &declaration[end..];
    }
    out + rest
}

/// The names of the functions marked `__global__`.
fn kernels(text: &str) -> Vec<&str> {
    let marked = text.split("__global__").skip(1);
    marked
        .filter_map(|after| {
            let mut head = &after[..after.find('{')?];
            // Attributes have parentheses as well: the name is before the last that opens at depth 0.
            let mut name = None;
            while let Some(open) = head.find('(') {
                let word = head[..open].trim_end();
                let word = word.rsplit(|c: char| !is_word(c)).next()?;
                if !word.starts_with("__") {
                    name = Some(word);
                    break;
                }
                head = &head[open + closing(&head[open..])? + 1..];
            }
            name
        })
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the parenthesis that opens `text` closes, strings left out.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `asm("op.type %0, [%1];" : "=r"(x) : "l"(y));` becomes `ptx_op_type(x, y);`, whatever the operation:
/// one that `cuda.h` lacks is an error of the compiler that names it.
fn assembly_as_calls(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("asm") {
        let (before, statement) = rest.split_at(at);
        out.push_str(before);
        let after = statement["asm".len()..].trim_start();
        let after = after.strip_prefix("volatile").unwrap_or(after).trim_start();
        if before.ends_with(is_word) || !after.starts_with('(') {
            out.push_str("asm");
            rest = &statement["asm".len()..];
            continue;
        }
        let end = closing(after).ok_or("an asm statement does not end")?;
        out.push_str(&call(&after[1..end])?);
        rest = &after[end + 1..];
    }
    Ok(out + rest)
}

/// One asm statement's inside as a call.
fn call(statement: &str) -> Result<String, String> {
    let wrong = || format!("an asm statement that is not understood: {statement}");
    let (template, operands) = literal(statement).ok_or_else(wrong)?;
    let mut expressions = Vec::new();
    let mut rest = operands;
    // Constraints are strings before a parenthesis; clobbers are strings without one.
    while let Some(at) = rest.find('"') {
        let (_, after) = literal(&rest[at..]).ok_or_else(wrong)?;
        rest = after;
        if rest.starts_with('(') {
            let end = closing(rest).ok_or_else(wrong)?;
            expressions.push(&rest[1..end]);
            rest = &rest[end + 1..];
        }
    }
    let template = template.trim().trim_end_matches(';');
    if template.contains([';', '\\']) {
        return Err(wrong());
    }
    let (operation, operands) = template.split_once(' ').unwrap_or((template, ""));
    let mut words = operation.split(|c: char| !c.is_ascii_alphanumeric());
    let mut name = "ptx".to_owned();
    for word in words.by_ref().filter(|word| !word.is_empty()) {
        name.push('_');
        name.push_str(word);
    }
    let operands = operands.split(',').map(|operand| {
        let operand = operand.trim_matches([' ', '{', '}', '[', ']']);
        match operand.strip_prefix('%') {
            None => Ok(operand),
            Some(number) => {
                let number: usize = number.parse().map_err(|_| wrong())?;
                expressions.get(number).copied().ok_or_else(wrong)
            }
        }
    });
    let operands: Vec<&str> = operands.collect::<Result<_, String>>()?;
    Ok(format!("{name}({})", operands.join(", ")))
}

/// The string literal at the start of a text, and what follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    let inside = text.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&inside[..end], inside[end + 1..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asm_statement_becomes_a_call() {
        let cases = [
            (
                r#"asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v(1)) );"#,
                "ptx_ex2_approx_ftz_f32(result, v(1));",
            ),
            (
                r#"asm volatile("cp.async.wait_group 1;" :  :  : "memory");"#,
                "ptx_cp_async_wait_group(1);",
            ),
            (
                r#"asm ("ldmatrix.x2.shared::cta.b16 {%0, %1}, [%2];" : "=r"(o.i_0), "=r"(o.i_1) : "r"(at) : "memory");"#,
                "ptx_ldmatrix_x2_shared_cta_b16(o.i_0, o.i_1, at);",
            ),
            ("plasma(1);", "plasma(1);"),
        ];
        for (asm, call) in cases {
            assert_eq!(assembly_as_calls(asm).as_deref(), Ok(call));
        }
        assert!(assembly_as_calls(r#"asm("a; b;" : : );"#).is_err());
    }

    #[test]
    fn names_of_values_are_those_of_their_order() {
        let text = "int v17 = v4_store + vec2(v17, 0x1v4, prev5);";
        assert_eq!(
            renumbered(text),
            "int v0 = v1_store + vec2(v0, 0x1v4, prev5);"
        );
    }

    #[test]
    fn a_kernel_gets_a_launcher_and_its_shared_memory() {
        let text = translate(
            "#include <mma.h>\nextern \"C\" __global__ void __launch_bounds__(32) __cluster_dims__(1, 1, 1) k(float* const a) {\nextern __shared__ __align__(16) char block[];\n}",
        )
        .expect("it translates");
        assert!(text.contains("launch_k(void** arguments)"), "{text}");
        assert!(text.contains("char* const block = cuda_on_cpu::shared();"));
        assert!(!text.contains("#include"));
    }
}
