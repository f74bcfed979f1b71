// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/weights.cuh>
#include <goldfinch/message.hpp>
#include <goldfinch/numeric.hpp>

#if defined(GOLDFINCH_CUDA_EMULATION)
#define GOLDFINCH_HAS_CUBLASLT 1
#elif __has_include(<cublasLt.h>) && __has_include(<dlfcn.h>)
#define GOLDFINCH_HAS_CUBLASLT 1
#include <cublasLt.h>
#include <dlfcn.h>
#else
#define GOLDFINCH_HAS_CUBLASLT 0
#endif

// y = w x of many rows by cuBLASLt, with float32 sums. The library is loaded by the first such product. Where there is none, or a call of it fails, our own kernels
// multiply, as they do in programs that were compiled without its header: a pass that has begun must end. A shape for which no plan could be made keeps to them.

namespace goldfinch::detail::device {

/// With fewer rows a product takes as long as reading the weights, whatever multiplies them, and a rounded copy of x only adds to it: there are 2 * rows FLOPs
/// for two bytes, in whose time an A100 can do 312 and an H100 591, and our own kernels less. Chosen by this count, not measured.
inline constexpr std::size_t least_cublaslt_rows = 128;

#if !GOLDFINCH_HAS_CUBLASLT

template <class T>
bool launch_cublaslt(cuda_executor const&, T const*, cuda_rows<float const> const&, cuda_rows<float> const&) {
    return false;
}

#else

#if defined(GOLDFINCH_CUDA_EMULATION)
using emulation::find_function, emulation::open_library;
#else
/// A shared library that the program was not linked with, or null, and a function of it.
inline void* open_library(char const* name) { return ::dlopen(name, RTLD_NOW | RTLD_LOCAL); }
inline void* find_function(void* library, char const* name) { return ::dlsym(library, name); }
#endif

template <class T>
inline constexpr cudaDataType_t cublaslt_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType_t cublaslt_type<bf16> = CUDA_R_16BF;
template <>
inline constexpr cudaDataType_t cublaslt_type<half> = CUDA_R_16F;

/// cuBLASLt on a runtime's device, and what it chose for the shapes of products that came.
class cublaslt {
    template <class Handle>
    using owned = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;

public:
    /// w [out, in] dense, x [rows, in] and y [rows, out] with strides, in elements: w and x of one type.
    struct shape {
        cudaDataType_t type;
        std::size_t out, in, rows, x_stride, y_stride;
        auto operator<=>(shape const&) const = default;
    };
    /// Our rows are cuBLASLt's columns: to it y is [out, rows], x is [in, rows], and w is [in, out], to be transposed.
    struct plan {
        owned<cublasLtMatmulDesc_t> operation;
        owned<cublasLtMatrixLayout_t> w, x, y;
        cublasLtMatmulHeuristicResult_t chosen;
        bool possible;
    };
    static constexpr std::size_t alignment = 16;                          ///< of what it reads and writes, and of rows in it
    static constexpr std::size_t most_plans = 256;                        ///< so many shapes, and all are forgotten
    static constexpr std::size_t most_workspace = std::size_t{32} << 20;  ///< what NVIDIA suggests for Hopper

    cublaslt() {
        void* const library = open_library(message({"libcublasLt.so.", CUBLAS_VER_MAJOR}).c_str());
        if (library == nullptr) return;
        bool all = true;
        auto const find = [&]<class F>(F*& function, char const* name) {
            function = reinterpret_cast<F*>(find_function(library, name));
            all = all && function != nullptr;
        };
        find(create_, "cublasLtCreate"), find(destroy_, "cublasLtDestroy");
        find(make_operation_, "cublasLtMatmulDescCreate"), find(free_operation_, "cublasLtMatmulDescDestroy");
        find(set_operation_, "cublasLtMatmulDescSetAttribute");
        find(make_layout_, "cublasLtMatrixLayoutCreate"), find(free_layout_, "cublasLtMatrixLayoutDestroy");
        find(make_wishes_, "cublasLtMatmulPreferenceCreate"), find(free_wishes_, "cublasLtMatmulPreferenceDestroy");
        find(set_wishes_, "cublasLtMatmulPreferenceSetAttribute"), find(choose_, "cublasLtMatmulAlgoGetHeuristic"), find(multiply_, "cublasLtMatmul");
        if (all && create_(&handle_) != CUBLAS_STATUS_SUCCESS) handle_ = nullptr;
    }
    cublaslt(cublaslt const&) = delete;
    cublaslt& operator=(cublaslt const&) = delete;
    ~cublaslt() {
        if (handle_ != nullptr) destroy_(handle_);
    }

    /// That of an executor's runtime, made when it is first asked for.
    static cublaslt& of(cuda_executor const& at) {
        if (*at.cublaslt == nullptr) *at.cublaslt = std::make_shared<cublaslt>();
        return *static_cast<cublaslt*>(at.cublaslt->get());
    }

    /// How it multiplies, until the next call; null where it cannot.
    plan const* find(shape const& s) {
        if (handle_ == nullptr) return nullptr;
        auto at = plans_.find(s);
        if (at == plans_.end()) {
            if (plans_.size() == most_plans) plans_.clear();
            at = plans_.emplace(s, make(s)).first;
        }
        return at->second.possible ? &at->second : nullptr;
    }

    /// y = factors[0] w x, for factors[1] = 0: both on the device where the weights are half, else on the host. Says whether it is under way.
    bool multiply(plan const& p, void const* w, void const* x, float* y, float const* factors, void* workspace, void* stream) const {
        return multiply_(handle_, p.operation.get(), factors, w, p.w.get(), x, p.x.get(), factors + 1, y, p.y.get(), y, p.y.get(), &p.chosen.algo, workspace,
                         p.chosen.workspaceSize, as_stream(stream)) == CUBLAS_STATUS_SUCCESS;
    }

private:
    /// Null where the call fails.
    template <class Handle, class... Arguments>
    static owned<Handle> make_owned(cublasStatus_t (*create)(Handle*, Arguments...), cublasStatus_t (*destroy)(Handle), std::type_identity_t<Arguments>... arguments) {
        Handle handle = nullptr;
        return {create(&handle, arguments...) == CUBLAS_STATUS_SUCCESS ? handle : nullptr, destroy};
    }
    owned<cublasLtMatrixLayout_t> layout(cudaDataType_t type, std::size_t rows, std::size_t columns, std::size_t stride) const {
        return make_owned(make_layout_, free_layout_, type, rows, columns, static_cast<std::int64_t>(stride));
    }

    plan make(shape const& s) const {
        plan p{make_owned(make_operation_, free_operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               layout(s.type, s.in, s.out, s.in),
               layout(s.type, s.in, s.rows, s.x_stride),
               layout(CUDA_R_32F, s.out, s.rows, s.y_stride),
               {},
               false};
        auto const wishes = make_owned(make_wishes_, free_wishes_);
        if (!p.operation || !p.w || !p.x || !p.y || !wishes) return p;
        auto const set = [&](cublasLtMatmulDescAttributes_t attribute, std::int32_t value) {
            return set_operation_(p.operation.get(), attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
        };
        auto const wish = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
            return set_wishes_(wishes.get(), attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
        };
        bool ok = set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
        ok = ok && set(CUBLASLT_MATMUL_DESC_POINTER_MODE, s.type == CUDA_R_16F ? CUBLASLT_POINTER_MODE_DEVICE : CUBLASLT_POINTER_MODE_HOST);
        ok = ok && wish(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{most_workspace});
        for (auto const matrix : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            ok = ok && wish(matrix, std::uint32_t{alignment});
        int found = 0;
        ok = ok && choose_(handle_, p.operation.get(), p.w.get(), p.x.get(), p.y.get(), p.y.get(), wishes.get(), 1, &p.chosen, &found) == CUBLAS_STATUS_SUCCESS;
        p.possible = ok && found > 0 && p.chosen.state == CUBLAS_STATUS_SUCCESS;
        return p;
    }

    decltype(&cublasLtCreate) create_ = nullptr;
    decltype(&cublasLtDestroy) destroy_ = nullptr;
    decltype(&cublasLtMatmulDescCreate) make_operation_ = nullptr;
    decltype(&cublasLtMatmulDescDestroy) free_operation_ = nullptr;
    decltype(&cublasLtMatmulDescSetAttribute) set_operation_ = nullptr;
    decltype(&cublasLtMatrixLayoutCreate) make_layout_ = nullptr;
    decltype(&cublasLtMatrixLayoutDestroy) free_layout_ = nullptr;
    decltype(&cublasLtMatmulPreferenceCreate) make_wishes_ = nullptr;
    decltype(&cublasLtMatmulPreferenceDestroy) free_wishes_ = nullptr;
    decltype(&cublasLtMatmulPreferenceSetAttribute) set_wishes_ = nullptr;
    decltype(&cublasLtMatmulAlgoGetHeuristic) choose_ = nullptr;
    decltype(&cublasLtMatmul) multiply_ = nullptr;
    cublasLtHandle_t handle_ = nullptr;  // null: it cannot be used
    std::map<shape, plan> plans_;
};

/// The largest finite magnitude of each row, a block each: infinities and NaNs stay their own row's. Shared memory: a float a warp.
template <class OnDemand = void>
__global__ void largest_of_rows_kernel(cuda_rows<float const> x, float* largest) {
    float own = 0;
    for (unsigned i = threadIdx.x; i < x.width; i += blockDim.x) {
        float const value = x[blockIdx.x][i];
        own = is_finite(value) ? fmaxf(own, fabsf(value)) : own;
    }
    own = largest_of_block(own, shared_memory<float>());
    if (threadIdx.x == 0) largest[blockIdx.x] = own;
}

/// Rounds rows to T, a block each; x.width is a multiple of 8. Where there are the largest magnitudes of all rows, a power of two brings x into the range of a
/// half: factors[0] undoes it, and factors[1] = 0. Shared memory: a float a warp.
template <class T>
__global__ void round_rows_kernel(cuda_rows<float const> x, bool aligned, float const* largest, T* to, float* factors) {
    unsigned const in = static_cast<unsigned>(x.width);
    float scale = 1;
    if (largest != nullptr) {
        float own = 0;
        for (unsigned i = threadIdx.x; i < x.size; i += blockDim.x) own = fmaxf(own, largest[i]);
        // 2^(e - 127) is the power of two below the largest, which becomes 2^14; zeros and tiny numbers have as small an e as both factors can be made for.
        std::uint32_t const bits = bits_as<std::uint32_t>(largest_of_block(own, shared_memory<float>())) >> 23, e = bits < 27 ? 27 : bits;
        scale = bits_as<float>((268 - e) << 23);
        if (blockIdx.x == 0 && threadIdx.x == 0) factors[0] = bits_as<float>((e - 14) << 23), factors[1] = 0;
    }
    T* const row = to + std::size_t{blockIdx.x} * in;
    for (unsigned i = threadIdx.x * 8; i < in; i += blockDim.x * 8) {
        float values[8];
        load_eight(x[blockIdx.x] + i, aligned, values);
        unsigned words[4];
        for (unsigned j = 0; j < 4; ++j) words[j] = T(values[2 * j] * scale).bits | static_cast<unsigned>(T(values[2 * j + 1] * scale).bits) << 16;
        *reinterpret_cast<uint4*>(row + i) = make_uint4(words[0], words[1], words[2], words[3]);
    }
}

/// A product of a pass that is not recorded, as calls of cuBLASLt cannot be; says whether it was done. x is rounded to the type of the weights; where that is
/// float it is read as it is.
template <class T>
bool launch_cublaslt(cuda_executor const& at, T const* w, cuda_rows<float const> const& x, cuda_rows<float> const& y) {
    if (x.size < least_cublaslt_rows || !at.recorder->many_tokens() || x.width % 8 != 0) return false;
    constexpr bool rounds = !std::is_same_v<T, float>;
    bool const aligned = rows_are_aligned(x);
    if (!rows_are_aligned({y.data, y.size, y.stride, y.width}) || (!rounds && !aligned)) return false;
    if (at.memory->has_host_memory()) return false;  // cuBLASLt is for the device's
    cublaslt& library = cublaslt::of(at);
    auto const* const plan = library.find({cublaslt_type<T>, y.width, x.width, x.size, rounds ? x.width : x.stride, y.stride});
    if (plan == nullptr) return false;

    cuda_scratch::scope const temporaries(*at.memory);
    auto const take = [&]<class E>(E*& memory, std::size_t n) { memory = static_cast<E*>(temporaries.take(n * sizeof(E))); };
    std::byte* workspace = nullptr;
    if (plan->chosen.workspaceSize > 0) take(workspace, plan->chosen.workspaceSize);
    if (at.memory->has_host_memory()) return false;
    float const one[] = {1, 0};
    float const* factors = one;
    void const* operand = x.data;
    if constexpr (rounds) {
        T* rounded = nullptr;
        float *largest = nullptr, *on_device = nullptr;
        take(rounded, x.size * x.width);
        if constexpr (std::is_same_v<T, half>) take(largest, x.size), take(on_device, 2);
        if (at.memory->has_host_memory()) return false;
        operand = rounded;
        dim3 const grid(static_cast<unsigned>(x.size)), block(threads_for(x.width / 8));
        std::size_t const shared = block.x / warp * sizeof(float);
        if constexpr (std::is_same_v<T, half>) {  // squared activations may be beyond its largest number
            factors = on_device;
            launch(at, largest_of_rows_kernel<>, grid, block, shared, x, largest);
        }
        launch(at, round_rows_kernel<T>, grid, block, shared, x, aligned, largest, rounded, on_device);
    }
    return library.multiply(*plan, w, operand, y.data, factors, workspace, at.recorder->stream);
}

#endif

}  // namespace goldfinch::detail::device
