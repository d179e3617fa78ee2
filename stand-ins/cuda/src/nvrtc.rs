//! The functions of libnvrtc: a program is translated, compiled by the host's compiler and kept in a
//! folder under the hash of its text. What is handed out as PTX is the path of the object.
#![allow(
    non_snake_case,
    reason = "the names are those of NVIDIA's library, for the dynamic linker"
)]

use std::ffi::{CStr, c_char, c_int};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::translate::translate;

const HEADER: &str = include_str!("cuda.h");

const OPTIONS: [&str; 7] = [
    "-std=c++20",
    "-fPIC",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-w",
    "-Winvalid-pch",
];

const SUCCESS: c_int = 0;
const INVALID_INPUT: c_int = 3;
const COMPILATION: c_int = 6;

/// Unrolled kernels take longer to optimise than to run, from about this many bytes on.
const LONG: usize = 64 << 10;

/// A program on its way from text to object.
pub(crate) struct Program {
    source: String,
    pub(crate) object: Vec<u8>,
    pub(crate) log: Vec<u8>,
}

/// The folder of compiled programs: `CUDA_ON_CPU_CACHE`, or one among the temporary files.
fn folder() -> PathBuf {
    let named = std::env::var_os("CUDA_ON_CPU_CACHE").map(PathBuf::from);
    named.unwrap_or_else(|| std::env::temp_dir().join("cuda-on-cpu"))
}

/// The path of the object compiled from a program.
fn compile(source: &str) -> Result<PathBuf, String> {
    /// One thread at a time, for `place` names what is unfinished by the process.
    static TURN: Mutex<()> = Mutex::new(());
    let text = translate(source)?;
    let _turn = TURN.lock().expect("no panic while locked");
    let folder = folder();
    let failed = |what: &Path| {
        let what = what.display().to_string();
        move |error: std::io::Error| format!("{what}: {error}")
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let level = if text.len() < LONG { "-O1" } else { "-O0" };
    let compiler = || {
        let mut compiler = Command::new("c++");
        compiler.args(OPTIONS).arg(level);
        compiler
    };
    let options = OPTIONS.join(" ") + level;
    let header = folder.join(format!("{}.h", hash(&[HEADER, &options])));
    let precompiled = header.with_extension("h.gch");
    if !precompiled.exists() {
        place(&header, |path| {
            fs::write(path, HEADER).map_err(failed(path))
        })?;
        place(&precompiled, |path| {
            let mut compiler = compiler();
            run(compiler
                .args(["-x", "c++-header"])
                .arg(&header)
                .arg("-o")
                .arg(path))
        })?;
    }
    let object = folder.join(format!("{}.so", hash(&[HEADER, &options, &text])));
    if !object.exists() {
        let file = object.with_extension("cpp");
        place(&file, |path| fs::write(path, &text).map_err(failed(path)))?;
        place(&object, |path| {
            let mut compiler = compiler();
            compiler
                .args(["-shared", "-include"])
                .arg(&header)
                .arg(&file);
            run(compiler.arg("-o").arg(path))
        })?;
    }
    Ok(object)
}

/// Makes a file under another name first, for other processes fill the same folder.
fn place(path: &Path, write: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    write(&unfinished)?;
    fs::rename(&unfinished, path).map_err(|error| format!("{}: {error}", path.display()))
}

fn run(compiler: &mut Command) -> Result<(), String> {
    let output = compiler.output();
    let output =
        output.map_err(|error| format!("the C++ compiler `c++` does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    }
    let digest = hasher.finalize();
    digest[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> c_int {
    // SAFETY: the caller's pointers.
    unsafe { (*major, *minor) = (13, 0) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcCreateProgram(
    program: *mut *mut Program,
    source: *const c_char,
    _name: *const c_char,
    num_headers: c_int,
    _headers: *const *const c_char,
    _include_names: *const *const c_char,
) -> c_int {
    // SAFETY: the caller's text, which ends in a zero.
    let Ok(source) = unsafe { CStr::from_ptr(source) }.to_str() else {
        return INVALID_INPUT;
    };
    if num_headers != 0 {
        return INVALID_INPUT;
    }
    let made = Box::new(Program {
        source: source.to_owned(),
        object: Vec::new(),
        log: vec![0],
    });
    // SAFETY: the caller's pointer.
    unsafe { *program = Box::into_raw(made) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcCompileProgram(
    program: *mut Program,
    _num_options: c_int,
    _options: *const *const c_char,
) -> c_int {
    // SAFETY: made in `nvrtcCreateProgram`, and used by one thread.
    let program = unsafe { &mut *program };
    let (bytes, place, code) = match compile(&program.source) {
        Ok(path) => (
            path.into_os_string().into_encoded_bytes(),
            &mut program.object,
            SUCCESS,
        ),
        Err(log) => (log.into_bytes(), &mut program.log, COMPILATION),
    };
    *place = bytes;
    place.push(0);
    code
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcGetPTXSize(program: *mut Program, size: *mut usize) -> c_int {
    // SAFETY: as in `nvrtcCompileProgram`.
    unsafe { *size = (*program).object.len() };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcGetPTX(program: *mut Program, to: *mut c_char) -> c_int {
    // SAFETY: as in `nvrtcCompileProgram`; the caller has asked for the size.
    unsafe { copy(&(*program).object, to) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcGetProgramLogSize(
    program: *mut Program,
    size: *mut usize,
) -> c_int {
    // SAFETY: as in `nvrtcCompileProgram`.
    unsafe { *size = (*program).log.len() };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcGetProgramLog(
    program: *mut Program,
    to: *mut c_char,
) -> c_int {
    // SAFETY: as in `nvrtcCompileProgram`; the caller has asked for the size.
    unsafe { copy(&(*program).log, to) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvrtcDestroyProgram(program: *mut *mut Program) -> c_int {
    // SAFETY: made in `nvrtcCreateProgram` by a box, and given back once.
    drop(unsafe { Box::from_raw(*program) });
    SUCCESS
}

/// # Safety
/// There is room for the bytes at `to`.
unsafe fn copy(bytes: &[u8], to: *mut c_char) {
    // SAFETY: the caller's.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len()) };
}
