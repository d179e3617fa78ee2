//! The page: one file that fetches nothing.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use sha2::{Digest, Sha256};
use telemetry::clock::rfc3339;

use super::Report;
use super::sections::Section;

/// The templates; those that others include need no order.
const TEMPLATES: [(&str, &str); 6] = [
    ("page.html", include_str!("page/page.html")),
    ("run.html", include_str!("page/run.html")),
    ("chart.html", include_str!("page/chart.html")),
    ("evaluations.html", include_str!("page/evaluations.html")),
    ("samples.html", include_str!("page/samples.html")),
    ("tables.html", include_str!("page/tables.html")),
];

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

impl Report {
    /// The report as an HTML page with its drawings, style and script in it. It may be opened as a file.
    pub fn html(&self) -> String {
        let sections: Vec<Section> = (1..)
            .zip(&self.runs)
            .map(|(n, run)| Section::new(run, n))
            .collect();
        let page = environment()
            .get_template("page.html")
            .and_then(|template| {
                template.render(context! {
                    name => crate::text::clean(&self.name),
                    made => rfc3339(self.now_ms),
                    version => env!("CARGO_PKG_VERSION"),
                    script_hash => format!("sha256-{}", base64(&Sha256::digest(SCRIPT))),
                    style => STYLE,
                    script => SCRIPT,
                    sections,
                })
            });
        page.expect("the templates fit what they are given")
    }
}

/// Everything is escaped that a template does not call safe, and a name that is not there is an error.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the templates are sound");
    }
    environment
}

/// As a content security policy names a hash.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk, &[0, 0]].concat();
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..4 {
            text.push(match digit <= chunk.len() {
                true => char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_comes_from_a_log_is_called_safe_nowhere() {
        // Style and script are ours.
        let allowed = ["style | safe", "script | safe"];
        for (name, source) in TEMPLATES {
            let marked = source
                .lines()
                .filter(|line| line.contains("| safe") || line.contains("|safe"));
            for line in marked {
                assert!(
                    allowed.iter().any(|ours| line.contains(ours)),
                    "{name}: {line}"
                );
            }
        }
    }
}
