//! What a table says of a key.

use super::carrier::Carrier;
use super::yaml::Item;

/// Names of keys, and what becomes of them. A name that ends in `*` stands for all that begin so.
pub(super) type Row = (&'static [&'static str], Rule);

/// What becomes of a key.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// It is the recipe's key of this name.
    Key(&'static str),
    /// It is the recipe's key of this name, whose words are other ones; a word that is not listed is
    /// offered as it is.
    Words(&'static str, &'static [(&'static str, &'static str)]),
    /// Keep does it anyway, or has no use for it.
    NotNeeded(&'static str),
    /// Keep does not do it.
    NoEquivalent(&'static str),
    /// As [`Rule::NoEquivalent`], unless it says that something is not done.
    Unless(&'static str),
    /// More than a table can say.
    By(fn(&mut Carrier<'_>, &Item)),
}

/// A default of the other program that changes what is trained: the stages, the recipe's key and its
/// value as TOML.
pub(super) type Default = (&'static [super::StageName], &'static str, &'static str);

/// The rule of a key.
pub(super) fn find(rows: &[Row], key: &str) -> Option<Rule> {
    let is_named = |name: &&str| match name.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => *name == key,
    };
    let row = rows.iter().find(|(names, _)| names.iter().any(is_named))?;
    Some(row.1)
}
