// CUDA's device side for the host's compiler, as far as cubecl's kernels use it.
#pragma once
#include <math.h>
#include <string.h>
#include <type_traits>

#define __CUDA_ARCH__ 900
#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define LINE int line = __builtin_LINE()

typedef unsigned int u32;
typedef unsigned long long u64;

namespace cuda_on_cpu {

struct uint3 { u32 x, y, z; };

// As `Lane`, `Operation` and `Runtime` in Rust.
struct Lane {
    uint3 thread, block, block_size, grid_size;
    char* shared;
};
enum Operation : u32 {
    SYNC, SHUFFLE, VOTE, LOAD_MATRIX, MULTIPLY_16816, MULTIPLY_1688, MULTIPLY_FRAGMENTS
};
struct Runtime {
    // A kernel's lane is the same wherever it is asked for.
    const Lane* (*lane)() __attribute__((const));
    void (*block)(u32 line);
    void (*warp)(Operation, u32 line, u32* arguments);
    u32 (*shared_address)(const void*);
    void (*copy)(u32 to, const void* from, size_t bytes, size_t read);
    void (*commit)();
    void (*arrive)(size_t all_but);
};
static const Runtime* runtime;
extern "C" inline __attribute__((used)) void cuda_on_cpu_bind(const Runtime* with) { runtime = with; }

static inline const Lane* lane() { return runtime->lane(); }
static inline char* shared() { return lane()->shared; }
static inline u32 lane_in_warp() {
    const Lane* l = lane();
    return (l->thread.x + l->block_size.x * (l->thread.y + l->block_size.y * l->thread.z)) % 32;
}

template <class... A, int... I>
static inline void call_with(void (*kernel)(A...), void** arguments, std::integer_sequence<int, I...>) {
    kernel(*(std::remove_const_t<A>*)arguments[I]...);
}
template <class... A>
static inline void call(void (*kernel)(A...), void** arguments) {
    call_with(kernel, arguments, std::make_integer_sequence<int, sizeof...(A)>());
}

template <class To, class From>
static inline To bits(const From& from) {
    To to{};
    memcpy(&to, &from, sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
    return to;
}

}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::lane()->thread)
#define blockIdx (cuda_on_cpu::lane()->block)
#define blockDim (cuda_on_cpu::lane()->block_size)
#define gridDim (cuda_on_cpu::lane()->grid_size)
#define warpSize 32

// --- Barriers, and what a warp does together ---

static inline void __syncthreads(LINE) { cuda_on_cpu::runtime->block(line); }
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __syncwarp(LINE) {
    u32 none;
    cuda_on_cpu::runtime->warp(cuda_on_cpu::SYNC, line, &none);
}
static inline u32 __activemask() { return ~0u; }

template <class T>
static inline T shuffle(T value, u32 from, int line) {
    u64 both = cuda_on_cpu::bits<u64>(value);
    u32 words[3] = {(u32)both, (u32)(both >> 32), from};
    cuda_on_cpu::runtime->warp(cuda_on_cpu::SHUFFLE, line, words);
    return cuda_on_cpu::bits<T>((u64)words[1] << 32 | words[0]);
}
template <class T> static inline T __shfl_sync(u32, T v, int from, LINE) { return shuffle(v, from & 31, line); }
template <class T> static inline T __shfl_xor_sync(u32, T v, int mask, LINE) {
    return shuffle(v, (cuda_on_cpu::lane_in_warp() ^ mask) & 31, line);
}
template <class T> static inline T __shfl_up_sync(u32, T v, u32 by, LINE) {
    u32 at = cuda_on_cpu::lane_in_warp();
    return shuffle(v, by > at ? at : at - by, line);
}
template <class T> static inline T __shfl_down_sync(u32, T v, u32 by, LINE) {
    u32 at = cuda_on_cpu::lane_in_warp();
    return shuffle(v, by > 31 - at ? at : at + by, line);
}

struct Vote { u32 yes, there; };
static inline Vote vote(bool yes, int line) {
    u32 words[2] = {yes, 0};
    cuda_on_cpu::runtime->warp(cuda_on_cpu::VOTE, line, words);
    return {words[0], words[1]};
}
static inline u32 __ballot_sync(u32, bool yes, LINE) { return vote(yes, line).yes; }
static inline bool __any_sync(u32, bool yes, LINE) { return vote(yes, line).yes != 0; }
static inline bool __all_sync(u32, bool yes, LINE) {
    Vote v = vote(yes, line);
    return v.yes == v.there;
}

// --- Half precision: every operation rounds once, from float32 to nearest, ties to even ---

static inline float half_to_float(unsigned short h) {
    u32 sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00) return cuda_on_cpu::bits<float>(sign | 0x7f800000u | (magnitude & 0x3ff) << 13);
    float value = cuda_on_cpu::bits<float>(magnitude << 13) * 0x1p112f;
    return cuda_on_cpu::bits<float>(cuda_on_cpu::bits<u32>(value) | sign);
}
static inline unsigned short float_to_half(float f) {
    u32 all = cuda_on_cpu::bits<u32>(f), sign = all >> 16 & 0x8000, magnitude = all & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;
    // Below the smallest normal number the addition rounds where the result's last bit is.
    if (magnitude < 0x38800000) return sign | (cuda_on_cpu::bits<u32>(fabsf(f) + 0.5f) - 0x3f000000);
    return sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
}
static inline float bfloat16_to_float(unsigned short b) { return cuda_on_cpu::bits<float>((u32)b << 16); }
static inline unsigned short float_to_bfloat16(float f) {
    u32 all = cuda_on_cpu::bits<u32>(f);
    if ((all & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (all + 0x7fff + (all >> 16 & 1)) >> 16;
}

#define HALF_PRECISION(T, T2, TO_FLOAT, FROM_FLOAT)                                                        \
    struct T {                                                                                             \
        unsigned short held;                                                                               \
        T() = default;                                                                                     \
        template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>                              \
        T(N n) : held(FROM_FLOAT((float)n)) {}                                                             \
        operator float() const { return TO_FLOAT(held); }                                                  \
    };                                                                                                     \
    struct alignas(4) T2 { T x, y; };                                                                      \
    static inline T operator-(T a) { a.held ^= 0x8000; return a; }                                         \
    static inline T2 operator-(T2 a) { return {-a.x, -a.y}; }                                              \
    HALF_OPERATOR(T, T2, +) HALF_OPERATOR(T, T2, -) HALF_OPERATOR(T, T2, *) HALF_OPERATOR(T, T2, /)        \
    HALF_COMPARISON(T, ==) HALF_COMPARISON(T, !=) HALF_COMPARISON(T, <) HALF_COMPARISON(T, <=)             \
    HALF_COMPARISON(T, >) HALF_COMPARISON(T, >=)                                                           \
    HALF_FUNCTION(T, T2, exp) HALF_FUNCTION(T, T2, log) HALF_FUNCTION(T, T2, sin) HALF_FUNCTION(T, T2, cos)\
    HALF_FUNCTION(T, T2, tanh) HALF_FUNCTION(T, T2, sqrt) HALF_FUNCTION(T, T2, ceil)                       \
    HALF_FUNCTION(T, T2, floor) HALF_FUNCTION(T, T2, trunc) HALF_FUNCTION(T, T2, rint)                     \
    static inline T hrsqrt(T a) { return T(1.0f / sqrtf(a)); }                                             \
    static inline T2 h2rsqrt(T2 a) { return {hrsqrt(a.x), hrsqrt(a.y)}; }                                  \
    static inline T __habs(T a) { a.held &= 0x7fff; return a; }                                            \
    static inline T2 __habs2(T2 a) { return {__habs(a.x), __habs(a.y)}; }                                  \
    static inline bool __hisnan(T a) { return isnan((float)a); }                                           \
    static inline bool __hisinf(T a) { return isinf((float)a); }                                           \
    HALF_EXTREME(T, T2, min, <) HALF_EXTREME(T, T2, max, >)                                                \
    static inline T __hfma(T a, T b, T c) { return T((float)a * (float)b + (float)c); }                    \
    static inline T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
#define HALF_OPERATOR(T, T2, OP)                                                                           \
    static inline T operator OP(T a, T b) { return T((float)a OP (float)b); }                              \
    static inline T2 operator OP(T2 a, T2 b) { return {a.x OP b.x, a.y OP b.y}; }
#define HALF_COMPARISON(T, OP) static inline bool operator OP(T a, T b) { return (float)a OP (float)b; }
#define HALF_FUNCTION(T, T2, NAME)                                                                         \
    static inline T h##NAME(T a) { return T(NAME##f((float)a)); }                                          \
    static inline T2 h2##NAME(T2 a) { return {h##NAME(a.x), h##NAME(a.y)}; }
#define HALF_EXTREME(T, T2, NAME, OP)                                                                      \
    static inline T __h##NAME(T a, T b) { return T(f##NAME##f(a, b)); }                                    \
    static inline T __h##NAME##_nan(T a, T b) { return isnan((float)a) || a OP b ? a : b; }                \
    static inline T2 __h##NAME##2(T2 a, T2 b) { return {__h##NAME(a.x, b.x), __h##NAME(a.y, b.y)}; }       \
    static inline T2 __h##NAME##2_nan(T2 a, T2 b) { return {__h##NAME##_nan(a.x, b.x), __h##NAME##_nan(a.y, b.y)}; }
HALF_PRECISION(__half, __half2, half_to_float, float_to_half)
HALF_PRECISION(__nv_bfloat16, __nv_bfloat162, bfloat16_to_float, float_to_bfloat16)

// --- Integers and floats ---

// NaN loses, as it does in CUDA's own.
template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmin(a, b);
    else return a < b ? a : b;
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
    if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return fmax(a, b);
    else return a > b ? a : b;
}
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline int __popc(u32 x) { return __builtin_popcount(x); }
static inline int __popcll(u64 x) { return __builtin_popcountll(x); }
static inline int __clz(u32 x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(u64 x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
static inline u32 __umulhi(u32 a, u32 b) { return (u64)a * b >> 32; }
static inline long long __mul64hi(long long a, long long b) { return (__int128)a * b >> 64; }
static inline u64 __umul64hi(u64 a, u64 b) { return (unsigned __int128)a * b >> 64; }

// --- Instructions, by the names that the translation gives them ---

static inline float without_subnormals(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }
static inline void ptx_ex2_approx_ftz_f32(float& y, float x) { y = without_subnormals(exp2f(without_subnormals(x))); }
static inline void ptx_rcp_approx_ftz_f32(float& y, float x) { y = without_subnormals(1.0f / without_subnormals(x)); }
static inline void ptx_min_NaN_f32(float& y, float a, float b) { y = isnan(a) || isnan(b) ? NAN : fminf(a, b); }
static inline void ptx_max_NaN_f32(float& y, float a, float b) { y = isnan(a) || isnan(b) ? NAN : fmaxf(a, b); }

// Threads of other blocks run at the same time.
#define ATOMIC(NAME, T, NEXT)                                                                              \
    static inline void ptx_atom_relaxed_##NAME(T& old, const T* where, T value) {                          \
        T next, *at = (T*)where;                                                                           \
        __atomic_load(at, &old, __ATOMIC_RELAXED);                                                         \
        do next = NEXT;                                                                                    \
        while (!__atomic_compare_exchange(at, &old, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));     \
    }
ATOMIC(add_f32, float, old + value)
ATOMIC(add_f64, double, old + value)
ATOMIC(add_u32, u32, old + value)
ATOMIC(add_u64, u64, old + value)
ATOMIC(min_u32, u32, min(old, value))
ATOMIC(max_u32, u32, max(old, value))
ATOMIC(min_s32, int, min(old, value))
ATOMIC(max_s32, int, max(old, value))

static inline u32 __cvta_generic_to_shared(const volatile void* p) {
    return cuda_on_cpu::runtime->shared_address((const void*)p);
}
static inline void ptx_cp_async_cg_shared_cta_global(u32 to, const volatile void* from, size_t bytes, size_t read) {
    cuda_on_cpu::runtime->copy(to, (const void*)from, bytes, read);
}
static inline void ptx_cp_async_ca_shared_cta_global(u32 to, const volatile void* from, size_t bytes, size_t read) {
    cuda_on_cpu::runtime->copy(to, (const void*)from, bytes, read);
}
static inline void ptx_cp_async_commit_group() { cuda_on_cpu::runtime->commit(); }
static inline void ptx_cp_async_wait_group(u32 all_but) { cuda_on_cpu::runtime->arrive(all_but); }

template <u32 COUNT>
static inline void load_matrices(u32* const (&to)[COUNT], u32 from, bool transposed, int line) {
    u32 words[7] = {from, COUNT, transposed};
    cuda_on_cpu::runtime->warp(cuda_on_cpu::LOAD_MATRIX, line, words);
    for (u32 i = 0; i < COUNT; i++) *to[i] = words[3 + i];
}
#define LOAD_MATRIX(SUFFIX, TRANSPOSED)                                                                    \
    static inline void ptx_ldmatrix_sync_aligned_m8n8_x1##SUFFIX(u32& a, u32 from, LINE) {                 \
        load_matrices<1>({&a}, from, TRANSPOSED, line);                                                    \
    }                                                                                                      \
    static inline void ptx_ldmatrix_sync_aligned_m8n8_x2##SUFFIX(u32& a, u32& b, u32 from, LINE) {         \
        load_matrices<2>({&a, &b}, from, TRANSPOSED, line);                                                \
    }                                                                                                      \
    static inline void ptx_ldmatrix_sync_aligned_m8n8_x4##SUFFIX(                                          \
        u32& a, u32& b, u32& c, u32& d, u32 from, LINE) {                                                  \
        load_matrices<4>({&a, &b, &c, &d}, from, TRANSPOSED, line);                                        \
    }
LOAD_MATRIX(_shared_cta_b16, false)
LOAD_MATRIX(_trans_shared_cta_b16, true)

#define MULTIPLY(NAME, OPERATION, TYPE)                                                                    \
    static inline void NAME(float& d0, float& d1, float& d2, float& d3, u32 a0, u32 a1, u32 a2, u32 a3,    \
                            u32 b0, u32 b1, float c0, float c1, float c2, float c3, LINE) {                \
        using cuda_on_cpu::bits;                                                                           \
        u32 words[15] = {TYPE, 0, 0, 0, 0, a0, a1, a2, a3, b0, b1,                                         \
                         bits<u32>(c0), bits<u32>(c1), bits<u32>(c2), bits<u32>(c3)};                      \
        cuda_on_cpu::runtime->warp(cuda_on_cpu::OPERATION, line, words);                                   \
        d0 = bits<float>(words[1]); d1 = bits<float>(words[2]);                                            \
        d2 = bits<float>(words[3]); d3 = bits<float>(words[4]);                                            \
    }
MULTIPLY(ptx_mma_sync_aligned_m16n8k16_row_col_f32_f16_f16_f32, MULTIPLY_16816, 0)
MULTIPLY(ptx_mma_sync_aligned_m16n8k16_row_col_f32_bf16_bf16_f32, MULTIPLY_16816, 1)
MULTIPLY(ptx_mma_sync_aligned_m16n8k8_row_col_f32_tf32_tf32_f32, MULTIPLY_1688, 0)

// A fragment's elements lie in order of rows, an equal share in each lane. On a GPU their order is not
// told either.
namespace nvcuda::wmma {

struct matrix_a; struct matrix_b; struct accumulator;
struct row_major; struct col_major;
namespace precision { struct tf32; }
enum layout_t { mem_row_major, mem_col_major };

// To nearest, ties away from zero.
static inline float __float_to_tf32(float x) {
    u32 all = cuda_on_cpu::bits<u32>(x);
    return isnan(x) ? x : cuda_on_cpu::bits<float>((all + 0x1000) & ~0x1fffu);
}

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
    static constexpr bool is_a = std::is_same_v<Use, matrix_a>, is_b = std::is_same_v<Use, matrix_b>;
    static constexpr bool is_tf32 = std::is_same_v<T, precision::tf32>;
    static constexpr int rows = is_b ? K : M, columns = is_a ? K : N, num_elements = rows * columns / 32;
    using element = std::conditional_t<is_tf32, float, T>;
    element x[num_elements];
    // Where element t of this lane lies in memory.
    static size_t place(int t, size_t stride, bool by_rows) {
        int index = cuda_on_cpu::lane_in_warp() * num_elements + t;
        size_t row = index / columns, column = index % columns;
        return by_rows ? row * stride + column : column * stride + row;
    }
    void widen(float* to) const {
        for (int t = 0; t < num_elements; t++) {
            to[t] = x[t];
            if (is_tf32) to[t] = cuda_on_cpu::bits<float>(cuda_on_cpu::bits<u32>(to[t]) & ~0x1fffu);
        }
    }
};

template <class F> static inline void fill_fragment(F& f, typename F::element value) {
    for (auto& x : f.x) x = value;
}
template <class Use, int M, int N, int K, class T, class Layout, class P>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const P* from, size_t stride) {
    for (int t = 0; t < f.num_elements; t++)
        f.x[t] = from[f.place(t, stride, std::is_same_v<Layout, row_major>)];
}
template <class F, class P>
static inline void load_matrix_sync(F& f, const P* from, size_t stride, layout_t layout) {
    for (int t = 0; t < f.num_elements; t++) f.x[t] = from[f.place(t, stride, layout == mem_row_major)];
}
template <class F, class P>
static inline void store_matrix_sync(P* to, const F& f, size_t stride, layout_t layout) {
    for (int t = 0; t < f.num_elements; t++) to[f.place(t, stride, layout == mem_row_major)] = f.x[t];
}

template <int M, int N, int K, class T, class LA, class LB, class C, class D>
static inline void mma_sync(fragment<accumulator, M, N, K, D>& d, const fragment<matrix_a, M, N, K, T, LA>& a,
                            const fragment<matrix_b, M, N, K, T, LB>& b,
                            const fragment<accumulator, M, N, K, C>& c, LINE) {
    float wide_d[d.num_elements], wide_a[a.num_elements], wide_b[b.num_elements], wide_c[c.num_elements];
    a.widen(wide_a), b.widen(wide_b), c.widen(wide_c);
    u32 words[12] = {M, N, K};
    const float* parts[4] = {wide_d, wide_a, wide_b, wide_c};
    memcpy(words + 4, parts, sizeof parts);
    cuda_on_cpu::runtime->warp(cuda_on_cpu::MULTIPLY_FRAGMENTS, line, words);
    for (int t = 0; t < d.num_elements; t++) d.x[t] = wide_d[t];
}

}  // namespace nvcuda::wmma
