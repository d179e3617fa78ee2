//! The header of a safetensors file: checked before anything trusts an offset in it.

use std::collections::BTreeMap;

use safetensors::tensor::{Metadata, TensorInfo};

/// The header of a file, checked against the file's length.
#[derive(Debug)]
pub(super) struct Header {
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Where offsets count from.
    pub data_start: usize,
}

impl Header {
    /// Reads the header off the front of a file, or says what is wrong with the file.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        const LENGTH_BYTES: usize = 8;
        // The format's own limit.
        const MAX_HEADER: u64 = 100_000_000;
        let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(format!(
                "not a safetensors file: it has {} bytes",
                file.len()
            ));
        };
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER {
            return Err(format!(
                "not a safetensors file: it begins with {:02x?} where the length of a header \
                 should be",
                &file[..LENGTH_BYTES]
            ));
        }
        let length = length as usize;
        let Some((header, data)) = rest.split_at_checked(length) else {
            return Err(format!(
                "cut short or not a safetensors file: it has {} bytes, its header alone should have \
                 {length}",
                file.len()
            ));
        };
        let metadata: Metadata = serde_json::from_slice(header)
            .map_err(|e| format!("not a safetensors file, or its header is damaged: {e}"))?;
        let expected = metadata.data_len();
        if expected != data.len() {
            let what = if expected > data.len() {
                "cut short"
            } else {
                "something lies behind the last tensor"
            };
            return Err(format!(
                "{what}: its header lists {expected} bytes of tensors, the file holds {}",
                data.len()
            ));
        }
        let tensors = metadata.tensors().into_iter();
        Ok(Self {
            tensors: tensors.map(|(name, info)| (name, info.clone())).collect(),
            data_start: LENGTH_BYTES + length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Vec<u8> {
        let header = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]}}"#;
        with_header(header, 34)
    }

    fn with_header(header: &[u8], num_data_bytes: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend((0..num_data_bytes).map(|i| i as u8));
        file
    }

    fn problem(file: &[u8]) -> String {
        Header::parse(file).expect_err("the file is broken")
    }

    #[test]
    fn a_sound_header_gives_its_tensors() {
        let header = Header::parse(&sound()).unwrap();
        let names: Vec<&String> = header.tensors.keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(header.tensors["b"].shape, [5]);
    }

    #[test]
    fn every_truncation_is_refused() {
        let file = sound();
        for length in 0..file.len() {
            problem(&file[..length]);
        }
        assert!(
            problem(&file[..file.len() - 1])
                .contains("lists 34 bytes of tensors, the file holds 33")
        );
    }

    #[test]
    fn junk_is_refused_by_its_first_bytes() {
        assert!(problem(&[0xff; 4096]).contains("not a safetensors file"));
        assert!(problem(&[0; 4096]).contains("not a safetensors file"));
        assert!(problem(b"").contains("0 bytes"));
    }

    #[test]
    fn offsets_outside_the_file_or_into_another_tensor_are_refused() {
        let entry = |offsets: &str, shape: &str| {
            let a = r#""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
            format!(r#"{{{a},"b":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        for (offsets, shape) in [
            ("[2,6]", "[4]"),
            ("[8,12]", "[4]"),
            ("[4,2]", "[4]"),
            ("[4,8]", "[5]"),
            ("[4,400]", "[396]"),
            ("[4,18446744073709551615]", "[18446744073709551611]"),
            ("[4,8]", "[18446744073709551615,2]"),
            ("[-4,8]", "[12]"),
        ] {
            problem(&with_header(entry(offsets, shape).as_bytes(), 8));
        }
        assert!(Header::parse(&with_header(entry("[4,8]", "[4]").as_bytes(), 8)).is_ok());
    }

    #[test]
    fn random_damage_never_panics_and_never_reaches_outside_the_file() {
        let whole = sound();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for _ in 0..20_000 {
            let mut file = whole.clone();
            for _ in 0..=random(3) {
                let at = random(file.len());
                match random(3) {
                    0 => file[at] ^= 1 << random(8),
                    1 => file[at] = b"0123456789,[]{}\""[random(16)],
                    _ => file.truncate(at + 1),
                }
            }
            let Ok(header) = Header::parse(&file) else {
                continue;
            };
            let data = &file[header.data_start..];
            for info in header.tensors.values() {
                let (start, end) = info.data_offsets;
                assert!(
                    start <= end && end <= data.len(),
                    "{info:?} of {} bytes",
                    data.len()
                );
            }
        }
    }
}
