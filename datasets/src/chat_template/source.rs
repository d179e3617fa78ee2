//! What Jinja2 does to a template's source before it reads it, and minijinja does not.

/// Line ends become `\n`, and a backslash at the end of a line inside a tag continues it: Jinja2 reads string literals
/// as Python does. Mistral's templates hold long system prompts written that way.
pub(super) fn as_jinja2_reads(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut rest = source.as_str();
    let mut read = String::with_capacity(source.len());
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let closing = if rest[start..].starts_with("{{") {
            "}}"
        } else {
            "%}"
        };
        let end = rest[start..]
            .find(closing)
            .map_or(rest.len(), |length| start + length);
        read.push_str(&rest[..start]);
        read.push_str(&rest[start..end].replace("\\\n", ""));
        rest = &rest[end..];
    }
    read.push_str(rest);
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_continues_the_line_inside_a_tag_alone() {
        assert_eq!(
            as_jinja2_reads("a\\\r\nb{{ 'c\\\nd' }}\\\n{%- set x = \"e\\\n\" -%}f\r"),
            "a\\\nb{{ 'cd' }}\\\n{%- set x = \"e\" -%}f\n"
        );
        assert_eq!(as_jinja2_reads("{{ 'open\\\n"), "{{ 'open");
    }
}
