//! The functions of libcuda that cubecl calls. Each has done its work when it returns, so streams and
//! events are names only.
#![allow(
    non_snake_case,
    reason = "the names are those of NVIDIA's library, for the dynamic linker"
)]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::{LazyLock, Mutex};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};

use crate::block::Launch;
use crate::fiber::{Entry, RUNTIME, Runtime};

const NAME: &[u8] = b"An H100 on the CPU";
const MEMORY_BYTES: usize = 8 << 30;
const MAX_SHARED_BYTES: usize = 227 << 10;

const SUCCESS: c_int = 0;
const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;
const INVALID_DEVICE: c_int = 101;
const INVALID_IMAGE: c_int = 200;
const NOT_FOUND: c_int = 500;

/// What a context, a stream or an event is: not null.
const HANDLE: *mut c_void = ptr::without_provenance_mut(1);

/// Memory that was handed out, by address.
static ALLOCATED: LazyLock<Mutex<HashMap<usize, Layout>>> = LazyLock::new(Mutex::default);

pub(crate) struct Function {
    name: String,
    entry: Entry,
}

/// # Safety
/// `place` may be written.
unsafe fn give<T>(place: *mut T, value: T) -> c_int {
    // SAFETY: the caller's.
    unsafe { place.write(value) };
    SUCCESS
}

/// Functions with nothing to do.
macro_rules! nothing_to_do {
    ($($name:ident($($argument:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> c_int {
            SUCCESS
        }
    )*};
}

nothing_to_do! {
    cuInit(c_uint);
    cuCtxSetCurrent(*mut c_void);
    cuStreamSynchronize(*mut c_void);
    cuStreamDestroy_v2(*mut c_void);
    cuStreamWaitEvent(*mut c_void, *mut c_void, c_uint);
    cuEventRecord(*mut c_void, *mut c_void);
    cuEventSynchronize(*mut c_void);
    cuEventDestroy_v2(*mut c_void);
}

/// Functions that give a number or a handle.
macro_rules! gives {
    ($($name:ident($type:ty = $value:expr $(, $argument:ty)?);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(place: *mut $type $(, _: $argument)?) -> c_int {
            // SAFETY: the caller's pointer.
            unsafe { give(place, $value) }
        }
    )*};
}

gives! {
    cuDriverGetVersion(c_int = 13_000);
    cuDeviceGetCount(c_int = 1);
    cuDeviceTotalMem_v2(usize = MEMORY_BYTES, c_int);
    cuDevicePrimaryCtxRetain(*mut c_void = HANDLE, c_int);
    cuStreamCreate(*mut c_void = HANDLE, c_uint);
    cuEventCreate(*mut c_void = HANDLE, c_uint);
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    if ordinal != 0 {
        return INVALID_DEVICE;
    }
    // SAFETY: the caller's pointer.
    unsafe { give(device, 0) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetName(
    name: *mut c_char,
    room: c_int,
    _device: c_int,
) -> c_int {
    // SAFETY: the caller's buffer, as long as it says.
    let name = unsafe { std::slice::from_raw_parts_mut(name.cast::<u8>(), room as usize) };
    name.fill(0);
    let length = NAME.len().min(name.len().saturating_sub(1));
    name[..length].copy_from_slice(&NAME[..length]);
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetPCIBusId(_id: *mut c_char, _room: c_int, _device: c_int) -> c_int {
    NOT_FOUND
}

/// The attributes that cubecl asks for, by their number in cuda.h, as an H100 has them.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    _device: c_int,
) -> c_int {
    let known = match attribute {
        1..=3 => 1024,                   // threads of a block, in all and in x and y
        4 => 64,                         // in z
        5 => c_int::MAX,                 // blocks of a grid in x
        6 | 7 => 65_535,                 // in y and z
        8 => 48 << 10,                   // shared memory of a block
        10 => 32,                        // lanes of a warp
        16 => 132,                       // multiprocessors
        75 => 9,                         // compute capability, major
        76 => 0,                         // minor
        97 => MAX_SHARED_BYTES as c_int, // shared memory of a block that asks
        _ => return INVALID_VALUE,
    };
    // SAFETY: the caller's pointer.
    unsafe { give(value, known) }
}

/// # Safety
/// `place` may be written.
unsafe fn allocate(place: *mut usize, bytes: usize) -> c_int {
    let Ok(layout) = Layout::from_size_align(bytes, 512) else {
        return INVALID_VALUE;
    };
    if bytes == 0 {
        return INVALID_VALUE;
    }
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        return OUT_OF_MEMORY;
    }
    let address = memory.expose_provenance();
    ALLOCATED
        .lock()
        .expect("no panic while locked")
        .insert(address, layout);
    // SAFETY: the caller's.
    unsafe { give(place, address) }
}

fn free(address: usize) -> c_int {
    let layout = ALLOCATED
        .lock()
        .expect("no panic while locked")
        .remove(&address);
    let Some(layout) = layout else {
        return INVALID_VALUE;
    };
    // SAFETY: allocated with this layout, and taken off the list only once.
    unsafe { dealloc(ptr::with_exposed_provenance_mut(address), layout) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemAlloc_v2(address: *mut usize, bytes: usize) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { allocate(address, bytes) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemAllocAsync(
    address: *mut usize,
    bytes: usize,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { allocate(address, bytes) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemAllocHost_v2(memory: *mut *mut c_void, bytes: usize) -> c_int {
    // SAFETY: the caller's pointer; an address is a pointer here.
    unsafe { allocate(memory.cast(), bytes) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: usize) -> c_int {
    free(address)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: usize, _stream: *mut c_void) -> c_int {
    free(address)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(memory: *mut c_void) -> c_int {
    free(memory.addr())
}

/// # Safety
/// There are `bytes` at both addresses.
unsafe fn copy(to: usize, from: usize, bytes: usize) -> c_int {
    let (to, from) = (
        ptr::with_exposed_provenance_mut(to),
        ptr::with_exposed_provenance(from),
    );
    // SAFETY: the caller's.
    unsafe { ptr::copy::<u8>(from, to, bytes) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: usize,
    from: *const c_void,
    bytes: usize,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's addresses.
    unsafe { copy(to, from.expose_provenance(), bytes) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: usize,
    bytes: usize,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's addresses.
    unsafe { copy(to.expose_provenance(), from, bytes) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpyDtoDAsync_v2(
    to: usize,
    from: usize,
    bytes: usize,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's addresses.
    unsafe { copy(to, from, bytes) }
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
pub(crate) struct Copy2d {
    from: Side,
    to: Side,
    width_bytes: usize,
    height: usize,
}

#[repr(C)]
struct Side {
    x_bytes: usize,
    y: usize,
    memory_type: c_uint,
    host: usize,
    device: usize,
    array: *mut c_void,
    pitch: usize,
}

const OF_HOST: c_uint = 1;
const OF_DEVICE: c_uint = 2;

impl Side {
    /// Where a row begins.
    fn row(&self, row: usize) -> Option<usize> {
        let start = match self.memory_type {
            OF_HOST => self.host,
            OF_DEVICE => self.device,
            _ => return None,
        };
        Some(start + (self.y + row) * self.pitch + self.x_bytes)
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuMemcpy2DAsync_v2(
    what: *const Copy2d,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's pointer.
    let what = unsafe { &*what };
    for row in 0..what.height {
        let (Some(from), Some(to)) = (what.from.row(row), what.to.row(row)) else {
            return INVALID_VALUE;
        };
        // SAFETY: the caller's addresses.
        unsafe { copy(to, from, what.width_bytes) };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuModuleLoadData(
    module: *mut *mut Library,
    image: *const c_void,
) -> c_int {
    // SAFETY: the image is NVRTC's, a path that ends in a zero.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(image.cast()) }.to_bytes());
    // SAFETY: the library was compiled from a kernel and has no initialisers of its own.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let Ok(library) = library else {
        return INVALID_IMAGE;
    };
    // SAFETY: `cuda.h` declares it so.
    let bind: Result<Symbol<extern "C" fn(&'static Runtime)>, _> =
        unsafe { library.get(b"cuda_on_cpu_bind\0") };
    let Ok(bind) = bind else {
        return INVALID_IMAGE;
    };
    bind(&RUNTIME);
    // SAFETY: the caller's pointer.
    unsafe { give(module, Box::into_raw(Box::new(library))) }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuModuleGetFunction(
    function: *mut *mut Function,
    module: *mut Library,
    name: *const c_char,
) -> c_int {
    // SAFETY: the caller's text, which ends in a zero.
    let name = unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: the module was loaded above, and the translation gives each kernel its launcher.
    let entry: Result<Symbol<Entry>, _> =
        unsafe { (*module).get(format!("launch_{name}\0").as_bytes()) };
    let Ok(entry) = entry.map(|symbol| *symbol) else {
        return NOT_FOUND;
    };
    // SAFETY: the caller's pointer.
    unsafe { give(function, Box::into_raw(Box::new(Function { name, entry }))) }
}

/// Shared memory beyond 48 KiB, which the launch is given as well.
#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(
    _function: *mut Function,
    _attribute: c_int,
    value: c_int,
) -> c_int {
    if value as usize > MAX_SHARED_BYTES {
        return INVALID_VALUE;
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cuLaunchKernel(
    function: *mut Function,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    _stream: *mut c_void,
    arguments: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> c_int {
    // SAFETY: the function was made in `cuModuleGetFunction`.
    let Function { name, entry } = unsafe { &*function };
    let launch = Launch {
        name,
        entry: *entry,
        arguments,
        grid_size: [grid_x, grid_y, grid_z],
        block_size: [block_x, block_y, block_z],
        shared_bytes: shared_bytes as usize,
    };
    let threads: u64 = launch
        .block_size
        .iter()
        .map(|&size| u64::from(size))
        .product();
    if !(1..=1024).contains(&threads)
        || launch.grid_size.contains(&0)
        || grid_y.max(grid_z) > 65_535
    {
        return INVALID_VALUE;
    }
    // SAFETY: the caller's arguments.
    unsafe { launch.run() };
    SUCCESS
}
