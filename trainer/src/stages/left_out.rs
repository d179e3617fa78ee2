//! What a stage cut short or left out of its data, in sentences.

use datasets::TruncationReport;

/// The sentences that are true, of `num_skipped` bad lines and what truncation did. `records` is what
/// the stage calls them, and `why` the reason for leaving one out.
pub(super) fn left_out(
    records: &str,
    num_skipped: usize,
    report: &TruncationReport,
    max_length: usize,
    why: &str,
) -> Vec<String> {
    let TruncationReport {
        num_records,
        num_truncated,
        num_without_supervision,
        ..
    } = report;
    let mut sentences = Vec::new();
    if num_skipped > 0 {
        sentences.push(format!(
            "{num_skipped} bad lines were left out (on_bad_record = skip)"
        ));
    }
    if *num_truncated > 0 {
        sentences.push(format!(
            "{num_truncated} of {num_records} {records} were cut to max_length = {max_length}"
        ));
    }
    if *num_without_supervision > 0 {
        sentences.push(format!(
            "{num_without_supervision} of {num_records} {records} were left out: {why}"
        ));
    }
    sentences
}
