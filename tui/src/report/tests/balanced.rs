//! Whether a page is put together as a browser expects it.

/// Elements without content.
const VOID: [&str; 5] = ["meta", "br", "hr", "img", "link"];

/// The names of all elements in order, or what is wrong: an element that is not closed, or closed by
/// another's tag, an attribute without quotes, a `<` that begins no tag.
pub fn elements(page: &str) -> Result<Vec<String>, String> {
    let (mut names, mut open): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = page.strip_prefix("<!doctype html>").ok_or("no doctype")?;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').ok_or("a tag does not end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            match open.pop() {
                Some(opened) if opened == name => continue,
                opened => return Err(format!("</{name}> closes {opened:?} before {:.60}", rest)),
            }
        }
        let (tag, closes_itself) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("<{tag}> is no tag"));
        }
        // Between quotes stands nothing that ends an attribute, so every second quote closes one.
        for (number, outside) in attributes.split('"').enumerate() {
            let outside = outside.trim();
            let is_name = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            let words = outside.strip_suffix('=').unwrap_or(outside).split(' ');
            if number % 2 == 0 && !words.into_iter().all(is_name) {
                return Err(format!(
                    "<{tag}> has an attribute without quotes: {outside}"
                ));
            }
        }
        names.push(name.to_owned());
        if ["script", "style"].contains(&name) {
            let close = format!("</{name}>");
            let end = rest.find(&close).ok_or(format!("<{name}> does not end"))?;
            rest = &rest[end + close.len()..];
        } else if !closes_itself && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    match open.pop() {
        Some(name) => Err(format!("<{name}> is not closed")),
        None => Ok(names),
    }
}
