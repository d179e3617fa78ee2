//! Looking one line up in a log that may be gigabytes long.

use crate::{EventTail, Line, TelemetryError};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are read at a time from the end.
const PIECE: u64 = 64 << 10;

impl EventTail {
    /// The first line that is `wanted`; what comes after it is read in part at most. A log that is not
    /// there has none.
    pub fn find_first(
        path: &Path,
        mut wanted: impl FnMut(&Line) -> bool,
    ) -> Result<Option<Line>, TelemetryError> {
        let mut tail = Self::new(path);
        loop {
            let batch = tail.poll()?;
            let found = batch.lines.into_iter().find(&mut wanted);
            if found.is_some() || batch.at_end {
                return Ok(found);
            }
        }
    }

    /// The last line that is `wanted`, searched from the end. A log that is not there has none.
    pub fn find_last(
        path: &Path,
        wanted: impl FnMut(&Line) -> bool,
    ) -> Result<Option<Line>, TelemetryError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(TelemetryError::io("read", path))?,
        };
        last(file, PIECE, wanted).map_err(TelemetryError::io("read", path))
    }
}

fn last(
    mut log: impl Read + Seek,
    piece: u64,
    mut wanted: impl FnMut(&Line) -> bool,
) -> io::Result<Option<Line>> {
    let mut start = log.seek(SeekFrom::End(0))?;
    // The end of a line that begins further up.
    let mut rest = Vec::new();
    while start > 0 {
        let end = start;
        start = end.saturating_sub(piece);
        log.seek(SeekFrom::Start(start))?;
        let mut text = vec![0; (end - start) as usize];
        log.read_exact(&mut text)?;
        text.append(&mut rest);
        let newline = text.iter().position(|&byte| byte == b'\n');
        let first = match newline {
            _ if start == 0 => 0,
            Some(newline) => newline + 1,
            None => text.len(),
        };
        let lines = text[first..].split_inclusive(|&byte| byte == b'\n').rev();
        let whole = lines.filter(|line| line.ends_with(b"\n"));
        if let Some(found) = whole.filter_map(Line::parse).find(&mut wanted) {
            return Ok(Some(found));
        }
        text.truncate(first);
        rest = text;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use std::io::Cursor;

    struct Counted {
        log: Cursor<Vec<u8>>,
        read: u64,
    }

    impl Read for &mut Counted {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let read = self.log.read(bytes)?;
            self.read += read as u64;
            Ok(read)
        }
    }

    impl Seek for &mut Counted {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.log.seek(to)
        }
    }

    /// A start, beats, a start, more beats and a torn line.
    fn log(beats: usize) -> String {
        let start = |n: u64| format!("{{\"kind\":\"resumed\",\"time\":{n},\"from_step\":0}}\n");
        let beat = "{\"kind\":\"heartbeat\",\"time\":3}\n".repeat(beats);
        format!("{}{beat}{}{beat}{{\"kind\":\"resu", start(1), start(2))
    }

    fn is_start(line: &Line) -> bool {
        matches!(line.event, Event::Resumed(_))
    }

    #[test]
    fn the_last_line_is_found_whatever_the_pieces_cut_through() {
        for piece in 1..200 {
            let found = last(Cursor::new(log(3)), piece, is_start).unwrap();
            assert_eq!(found.expect("it is there").time_ms, 2, "{piece}");
            let first = |line: &Line| line.time_ms == 1;
            assert!(last(Cursor::new(log(3)), piece, first).unwrap().is_some());
            let none = last(Cursor::new(log(3)), piece, |line| line.time_ms == 9);
            assert_eq!(none.unwrap(), None);
        }
        assert_eq!(last(Cursor::new(""), 8, |_| true).unwrap(), None);
    }

    #[test]
    fn what_is_above_the_last_line_is_not_read() {
        let mut counted = Counted {
            log: Cursor::new(log(10_000).into_bytes()),
            read: 0,
        };
        let beat = |line: &Line| line.time_ms == 3;
        assert!(last(&mut counted, 100, beat).unwrap().is_some());
        assert_eq!(counted.read, 100);
    }

    #[test]
    fn the_first_line_is_found_from_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(EventTail::find_first(&path, is_start).unwrap(), None);
        assert_eq!(EventTail::find_last(&path, is_start).unwrap(), None);
        std::fs::write(&path, log(3)).unwrap();
        let found = EventTail::find_first(&path, is_start).unwrap();
        assert_eq!(found.expect("it is there").time_ms, 1);
        let found = EventTail::find_last(&path, is_start).unwrap();
        assert_eq!(found.expect("it is there").time_ms, 2);
    }
}
