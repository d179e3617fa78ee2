//! Where records come from: files of one JSON record a line.
//!
//! Parquet is not read yet; convert with `duckdb -c "COPY (FROM 'a.parquet') TO 'a.jsonl'"` or with
//! `datasets.load_dataset(…).to_json("a.jsonl")`.

pub mod jsonl;
