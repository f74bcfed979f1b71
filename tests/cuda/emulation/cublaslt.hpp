// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include "device.hpp"
#include "runtime.hpp"
#include "work.hpp"

// Products by cuBLASLt, with its own signatures: matrices are columns one after another, `ld` apart. Sums are double. What the library leaves undefined is
// refused: operands beyond their memory, less aligned than was promised, or of other shapes than the algorithm was chosen for.

#define CUBLAS_VER_MAJOR 13

enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
};
enum cublasLtPointerMode_t { CUBLASLT_POINTER_MODE_HOST = 0, CUBLASLT_POINTER_MODE_DEVICE = 1 };
enum cublasLtMatmulDescAttributes_t { CUBLASLT_MATMUL_DESC_POINTER_MODE = 2, CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4 };
enum cublasLtMatmulPreferenceAttributes_t {
    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
};

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    std::map<int, std::int32_t> attributes;
    std::int32_t get(int attribute) const { return attributes.contains(attribute) ? attributes.at(attribute) : 0; }
};
struct cublasLtMatrixLayoutOpaque_t {
    cudaDataType_t type;
    std::uint64_t rows, columns;
    std::int64_t ld;
};
struct cublasLtMatmulPreferenceOpaque_t {
    std::uint64_t workspace = 0;
    std::array<std::uint32_t, 4> alignment{256, 256, 256, 256};
};
using cublasLtHandle_t = cublasLtContext*;
using cublasLtMatmulDesc_t = cublasLtMatmulDescOpaque_t*;
using cublasLtMatrixLayout_t = cublasLtMatrixLayoutOpaque_t*;
using cublasLtMatmulPreference_t = cublasLtMatmulPreferenceOpaque_t*;
/// What it was chosen for: matrices, alignments.
struct cublasLtMatmulAlgo_t {
    std::uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    std::size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
};

namespace emulation {

/// What tests ask of the library, and it of them.
struct cublaslt {
    bool is_installed = true;
    std::string fails;         ///< the call that does
    bool has_algorithms = true;
    std::size_t workspace = 512;  ///< what algorithms need
    std::size_t choices = 0;   ///< of algorithms
    std::size_t products = 0;  ///< that were asked for

    static cublaslt& get() {
        static cublaslt& library = *new cublaslt;
        return library;
    }
};

namespace detail {

/// The outcome of a call, unless a test wants it to fail.
template <class Call>
cublasStatus_t cublaslt_call(char const* name, Call call) {
    if (device::get().count == 0) return CUBLAS_STATUS_NOT_INITIALIZED;
    return cublaslt::get().fails == name ? CUBLAS_STATUS_EXECUTION_FAILED : call();
}
template <class Object>
cublasStatus_t make_object(char const* name, Object** to, Object const& value) {
    return cublaslt_call(name, [&] { return *to = new Object(value), device::get().made_handle(), CUBLAS_STATUS_SUCCESS; });
}
template <class Object>
cublasStatus_t free_object(Object* object) {
    delete object;
    device::get().freed_handle();
    return CUBLAS_STATUS_SUCCESS;
}

inline std::size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }
inline double number(std::uint16_t bits, cudaDataType_t type) {
    if (type == CUDA_R_16BF) return static_cast<double>(std::bit_cast<float>(std::uint32_t{bits} << 16));
    int const exponent = bits >> 10 & 31, fraction = bits & 1023;
    double const infinite = fraction == 0 ? HUGE_VAL : NAN, finite = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    double const magnitude = exponent == 31 ? infinite : finite;
    return bits >> 15 != 0 ? -magnitude : magnitude;
}
inline double element(void const* matrix, cublasLtMatrixLayoutOpaque_t const& of, std::uint64_t row, std::uint64_t column) {
    std::size_t const at = column * static_cast<std::uint64_t>(of.ld) + row;
    return of.type == CUDA_R_32F ? static_cast<double>(static_cast<float const*>(matrix)[at]) : number(static_cast<std::uint16_t const*>(matrix)[at], of.type);
}

/// A product d [m, n] = alpha op(a) op(b) + beta c of k terms.
struct matmul {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t a, b, c, d;

    bool transposed(int attribute) const { return operation.get(attribute) == CUBLAS_OP_T; }
    bool a_is_transposed() const { return transposed(CUBLASLT_MATMUL_DESC_TRANSA); }
    bool b_is_transposed() const { return transposed(CUBLASLT_MATMUL_DESC_TRANSB); }
    std::uint64_t k() const { return a_is_transposed() ? a.rows : a.columns; }
    bool is_valid() const {
        auto const fits = [](auto const& of) { return of.rows > 0 && of.columns > 0 && of.ld >= static_cast<std::int64_t>(of.rows); };
        if (!fits(a) || !fits(b) || !fits(c) || !fits(d) || c.rows != d.rows || c.columns != d.columns) return false;
        bool const same_k = (b_is_transposed() ? b.columns : b.rows) == k();
        return same_k && (a_is_transposed() ? a.columns : a.rows) == d.rows && (b_is_transposed() ? b.rows : b.columns) == d.columns;
    }
    bool is_supported() const { return a.type == b.type && c.type == CUDA_R_32F && d.type == CUDA_R_32F && operation.scale == CUDA_R_32F; }
    /// Names the shapes: an algorithm is for these.
    std::uint64_t key() const {
        std::uint64_t result = static_cast<std::uint64_t>(a_is_transposed()) * 2 + static_cast<std::uint64_t>(b_is_transposed());
        for (auto const* const matrix : {&a, &b, &c, &d})
            for (std::uint64_t const part : {static_cast<std::uint64_t>(matrix->type), matrix->rows, matrix->columns, static_cast<std::uint64_t>(matrix->ld)})
                result = (result ^ part) * 0x9e3779b97f4a7c15u;
        return result;
    }
    void run(float alpha, void const* A, void const* B, float beta, void const* C, float* D) const {
        for (std::uint64_t row = 0; row < d.rows; ++row)
            for (std::uint64_t column = 0; column < d.columns; ++column) {
                double sum = 0;
                for (std::uint64_t i = 0; i < k(); ++i)
                    sum += (a_is_transposed() ? element(A, a, i, row) : element(A, a, row, i)) *
                           (b_is_transposed() ? element(B, b, column, i) : element(B, b, i, column));
                double const before = beta != 0 ? static_cast<double>(beta) * element(C, c, row, column) : 0;
                D[column * static_cast<std::uint64_t>(d.ld) + row] = static_cast<float>(static_cast<double>(alpha) * sum + before);
            }
    }
};

}  // namespace detail

}  // namespace emulation

inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return emulation::detail::make_object("cublasLtCreate", handle, {}); }
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return emulation::detail::free_object(handle); }

inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType_t scale) {
    return emulation::detail::make_object("cublasLtMatmulDescCreate", operation, {compute, scale, {}});
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) { return emulation::detail::free_object(operation); }
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, void const* value,
                                                     std::size_t bytes) {
    return emulation::detail::cublaslt_call("cublasLtMatmulDescSetAttribute", [&] {
        if (bytes != sizeof(std::int32_t)) return CUBLAS_STATUS_INVALID_VALUE;
        std::memcpy(&operation->attributes[attribute], value, bytes);
        return CUBLAS_STATUS_SUCCESS;
    });
}

inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, std::uint64_t rows, std::uint64_t columns,
                                                 std::int64_t ld) {
    return emulation::detail::make_object("cublasLtMatrixLayoutCreate", layout, {type, rows, columns, ld});
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return emulation::detail::free_object(layout); }

inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* wishes) {
    return emulation::detail::make_object("cublasLtMatmulPreferenceCreate", wishes, {});
}
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t wishes) { return emulation::detail::free_object(wishes); }
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t wishes, cublasLtMatmulPreferenceAttributes_t attribute,
                                                           void const* value, std::size_t bytes) {
    return emulation::detail::cublaslt_call("cublasLtMatmulPreferenceSetAttribute", [&] {
        bool const workspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        if (bytes != (workspace ? sizeof(std::uint64_t) : sizeof(std::uint32_t))) return CUBLAS_STATUS_INVALID_VALUE;
        if (workspace)
            std::memcpy(&wishes->workspace, value, bytes);
        else
            std::memcpy(&wishes->alignment.at(static_cast<std::size_t>(attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)), value, bytes);
        return CUBLAS_STATUS_SUCCESS;
    });
}

/// One algorithm, or none with so little workspace.
inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                     cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t wishes, int most,
                                                     cublasLtMatmulHeuristicResult_t* results, int* found) {
    return emulation::detail::cublaslt_call("cublasLtMatmulAlgoGetHeuristic", [&] {
        *found = 0;
        emulation::detail::matmul const product{*operation, *a, *b, *c, *d};
        if (most < 1 || !product.is_valid()) return CUBLAS_STATUS_INVALID_VALUE;
        if (!product.is_supported() || !emulation::cublaslt::get().has_algorithms) return CUBLAS_STATUS_NOT_SUPPORTED;
        *found = 1;
        auto const& [A, B, C, D] = wishes->alignment;
        *results = {{{product.key(), A, B, C, D}}, emulation::cublaslt::get().workspace, CUBLAS_STATUS_SUCCESS, 1, {}};
        if (results->workspaceSize > wishes->workspace) return *found = 0, CUBLAS_STATUS_SUCCESS;
        ++emulation::cublaslt::get().choices;
        return CUBLAS_STATUS_SUCCESS;
    });
}

inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, void const* alpha, void const* A, cublasLtMatrixLayout_t a,
                                     void const* B, cublasLtMatrixLayout_t b, void const* beta, void const* C, cublasLtMatrixLayout_t c, void* D,
                                     cublasLtMatrixLayout_t d, cublasLtMatmulAlgo_t const* algorithm, void* workspace, std::size_t workspace_bytes,
                                     cudaStream_t stream) {
    return emulation::detail::cublaslt_call("cublasLtMatmul", [&] {
        auto& on = emulation::device::get();
        emulation::detail::matmul const product{*operation, *a, *b, *c, *d};
        if (!product.is_valid() || algorithm->data[0] != product.key()) return CUBLAS_STATUS_INVALID_VALUE;
        std::size_t const needed = emulation::cublaslt::get().workspace;
        if (workspace_bytes < needed || (needed > 0 && !on.holds(workspace, workspace_bytes))) return CUBLAS_STATUS_INVALID_VALUE;
        auto const is_there = [&](void const* matrix, cublasLtMatrixLayoutOpaque_t const& of, std::uint64_t alignment) {
            std::size_t const size = emulation::detail::bytes_of(of.type), ld = static_cast<std::size_t>(of.ld) * size;
            return on.holds(matrix, (of.columns - 1) * ld + of.rows * size) && reinterpret_cast<std::uintptr_t>(matrix) % alignment == 0 && ld % alignment == 0;
        };
        auto const& alignment = algorithm->data;
        if (!is_there(A, *a, alignment[1]) || !is_there(B, *b, alignment[2]) || !is_there(C, *c, alignment[3]) || !is_there(D, *d, alignment[4]))
            return CUBLAS_STATUS_INVALID_VALUE;
        bool const on_device = operation->get(CUBLASLT_MATMUL_DESC_POINTER_MODE) == CUBLASLT_POINTER_MODE_DEVICE;
        for (void const* const factor : {alpha, beta})
            if (on.holds(factor, sizeof(float)) != on_device) return CUBLAS_STATUS_INVALID_VALUE;
        auto const factors = [=] { return std::array<float, 2>{*static_cast<float const*>(alpha), *static_cast<float const*>(beta)}; };
        auto const given = on_device ? std::array<float, 2>{} : factors();
        ++emulation::cublaslt::get().products;
        emulation::detail::enqueue(stream, [=] {
            emulation::device::access access;
            auto const [by, plus] = on_device ? factors() : given;
            if (workspace_bytes > 0) std::memset(workspace, 0xff, workspace_bytes);
            product.run(by, A, B, plus, C, static_cast<float*>(D));
        });
        return CUBLAS_STATUS_SUCCESS;
    });
}

namespace emulation {

/// The library, as dlopen and dlsym find it.
inline void* open_library(char const* name) {
    return cublaslt::get().is_installed && name == std::string("libcublasLt.so.") + std::to_string(CUBLAS_VER_MAJOR) ? &cublaslt::get() : nullptr;
}
inline void* find_function(void* library, std::string_view name) {
#define EMULATION_FUNCTION(function) \
    if (library == &cublaslt::get() && name == #function) return reinterpret_cast<void*>(&function);
    EMULATION_FUNCTION(cublasLtCreate)
    EMULATION_FUNCTION(cublasLtDestroy)
    EMULATION_FUNCTION(cublasLtMatmulDescCreate)
    EMULATION_FUNCTION(cublasLtMatmulDescDestroy)
    EMULATION_FUNCTION(cublasLtMatmulDescSetAttribute)
    EMULATION_FUNCTION(cublasLtMatrixLayoutCreate)
    EMULATION_FUNCTION(cublasLtMatrixLayoutDestroy)
    EMULATION_FUNCTION(cublasLtMatmulPreferenceCreate)
    EMULATION_FUNCTION(cublasLtMatmulPreferenceDestroy)
    EMULATION_FUNCTION(cublasLtMatmulPreferenceSetAttribute)
    EMULATION_FUNCTION(cublasLtMatmulAlgoGetHeuristic)
    EMULATION_FUNCTION(cublasLtMatmul)
#undef EMULATION_FUNCTION
    return nullptr;
}

}  // namespace emulation
