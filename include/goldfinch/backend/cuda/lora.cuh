// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include <goldfinch/backend/cuda/device.cuh>
#include <goldfinch/backend/cuda/kernels.hpp>
#include <goldfinch/backend/cuda/low_rank.cuh>
#include <goldfinch/backend/cuda/token_shift.cuh>

// Products with low-rank factors, which are stored [in, out]: neighbouring lanes take neighbouring outputs. A row's sums are the same whatever rows are beside it.

namespace goldfinch::detail {

namespace device {

inline constexpr unsigned lora_rows = 4, lora_slices = 8;  ///< rows of a block, and parts into which it cuts the inputs

/// w = exp(-exp(w)), and k *= 1 - w where there is a k.
__device__ inline float decay(float w, float* k) {
    float const negative = -expf(w);
    if (k != nullptr) *k *= -expm1f(negative);
    return expf(negative);
}

/// y = tanh(x w), or y = v + x w, or y += x w.
enum class lora_result : unsigned { tanh, on_row, add };
/// The rows of a launch of some products that do not depend on one another, at the beginning of its argument.
struct lora_rows_of {
    static constexpr unsigned most = 2;
    unsigned size = 0;
    unsigned first_block[most] = {};
    lora_result result[most] = {};
    unsigned padding = 0;
    unsigned decays[most] = {};  ///< whether y becomes the decay of its value, and k, where there is one, is multiplied by 1 - y
    cuda_rows<float const> x[most] = {};
    cuda_rows<float> y[most] = {}, k[most] = {};

    /// Whether what reads `reads` and writes `writes` may be done at the same time.
    bool apart_from(cuda_rows<float const> const& reads, cuda_rows<float> const& writes) const {
        bool ok = true;
        for (unsigned i = 0; i < size; ++i)
            ok = ok && apart(reads, y[i]) && apart(reads, k[i]) && apart(writes, x[i]) && apart(writes, y[i]) && apart(writes, k[i]);
        return ok;
    }
};
/// What an output becomes.
template <class T>
__device__ inline float lora_value(lora_result result, float const& before, T const* v, unsigned out, float sum) {
    return result == lora_result::tanh ? tanhf(sum) : result == lora_result::on_row ? static_cast<float>(v[out]) + sum : before + sum;
}

template <class T>
struct lora_products {
    using header = lora_rows_of;
    lora_rows_of rows;
    T const* v[lora_rows_of::most] = {};
    T const* w[lora_rows_of::most] = {};

    void add(unsigned first_block, lora_result result, T const* other_v, cuda_rows<float const> const& x, T const* other_w, cuda_rows<float> const& y) {
        unsigned const i = rows.size++;
        rows.first_block[i] = first_block, rows.result[i] = result, rows.x[i] = x, rows.y[i] = y, v[i] = other_v, w[i] = other_w;
    }
};

/// A block's part of the i-th product; load(row, k, r) is the input, for the block's r-th row.
template <class T, class Load>
__device__ inline void lora_block(lora_products<T> const& products, unsigned i, Load const& load) {
    float(*const parts)[lora_rows][warp] = shared_memory<float[lora_rows][warp]>();  // [lora_slices][lora_rows][warp]
    cuda_rows<float const> const x = products.rows.x[i];
    cuda_rows<float> const y = products.rows.y[i];
    T const* const w = products.w[i];
    unsigned const lane = threadIdx.x % warp, slice = threadIdx.x / warp, out = (blockIdx.x - products.rows.first_block[i]) * warp + lane;
    unsigned const first = blockIdx.y * lora_rows;
    if (first >= x.size) return;  // the whole block
    unsigned const n = smaller(lora_rows, static_cast<unsigned>(x.size) - first);
    unsigned const in = static_cast<unsigned>(x.width), outs = static_cast<unsigned>(y.width);
    float sums[lora_rows] = {};
    if (out < outs)
        for (unsigned k = slice; k < in; k += lora_slices) {
            float const factor = static_cast<float>(w[std::size_t{k} * outs + out]);
            GOLDFINCH_DEVICE_UNROLL
            for (unsigned r = 0; r < lora_rows; ++r)
                if (r < n) sums[r] = fmaf(load(first + r, k, r), factor, sums[r]);
        }
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned r = 0; r < lora_rows; ++r) parts[slice][r][lane] = sums[r];
    __syncthreads();
    if (slice >= n || out >= outs) return;
    float sum = 0;
    for (unsigned s = 0; s < lora_slices; ++s) sum += parts[s][slice][lane];
    unsigned const t = first + slice;
    float& to = y[t][out];
    float const result = lora_value(products.rows.result[i], to, products.v[i], out, sum);
    cuda_rows<float> const k = products.rows.k[i];
    to = products.rows.decays[i] != 0 ? decay(result, k.data != nullptr ? &k[t][out] : nullptr) : result;
}

template <class T>
__global__ void lora_kernel(__grid_constant__ lora_products<T> const products) {
    unsigned const i = products.rows.size > 1 && blockIdx.x >= products.rows.first_block[1] ? 1 : 0;
    cuda_rows<float const> const x = products.rows.x[i];
    lora_block(products, i, [&](unsigned t, unsigned k, unsigned) { return x[t][k]; });
}

/// A product on tensor cores.
template <class T>
__global__ void __launch_bounds__(low_rank_threads)
    lora_mma_kernel(lora_result result, T const* v, cuda_rows<float const> x, bool aligned, T const* w, cuda_rows<float> y) {
    low_rank_block(x, aligned, w, static_cast<unsigned>(y.width), [&](unsigned t, unsigned out, float sum) {
        float& to = y[t][out];
        to = lora_value(result, to, v, out, sum);
    });
}

/// A token shift to one output, and the product of that.
template <class T>
struct shifted_lora {
    shift_arguments<T> shift;
    lora_products<T> product;
};
template <class T>
__global__ void shifted_lora_kernel(__grid_constant__ shifted_lora<T> const both) {
    cuda_rows<float const> const x = both.shift.in.x;
    cuda_rows<float> const z = both.shift.outputs.y[0];
    T const* const mu = both.shift.outputs.mu[0];
    unsigned const first = blockIdx.y * lora_rows;
    float const* before[lora_rows];
    GOLDFINCH_DEVICE_UNROLL
    for (unsigned r = 0; r < lora_rows; ++r) before[r] = first + r < x.size ? row_before(x, both.shift.in.of, first + r) : nullptr;
    bool const writes = blockIdx.x == 0 && threadIdx.x % warp == 0;
    lora_block(both.product, 0, [&](unsigned t, unsigned k, unsigned r) {
        float const now = x[t][k], shifted = fmaf(before[r][k] - now, static_cast<float>(mu[k]), now);
        if (writes) z[t][k] = shifted;
        return shifted;
    });
}

inline constexpr std::size_t lora_shared = lora_slices * lora_rows * warp * sizeof(float);
static_assert(lora_rows <= lora_slices);

/// Lets a product that was recorded last make the decay of what it gives: says whether it does.
inline bool join_decay(cuda_executor const& at, cuda_rows<float> w, cuda_rows<float> k) {
    cuda_recording& recorded = at.recorder->recorded();
    auto before = recorded.header<lora_rows_of>();
    if (!before) return false;
    unsigned const last = before->size - 1;
    bool const joins = same_rows(before->y[last], w) && before->decays[last] == 0 && before->result[last] != lora_result::tanh;
    if (!joins || !before->apart_from({k.data, k.size, k.stride, k.width}, k)) return false;
    before->decays[last] = 1, before->k[last] = k;
    recorded.change_argument(*before);
    return true;
}

/// Adds a product to a launch of one, `back` before the last, if that may be; says whether it did.
template <class T>
bool join_lora(cuda_recording& recorded, std::size_t back, lora_result result, T const* v, cuda_rows<float const> x, T const* w, cuda_rows<float> y) {
    auto before = recorded.argument<lora_products<T>>(reinterpret_cast<void const*>(lora_kernel<T>), back);
    if (!before || before->rows.size != 1 || !before->rows.apart_from(x, y)) return false;
    if ((before->rows.result[0] == lora_result::tanh) != (result == lora_result::tanh)) return false;
    before->add(divide_up(before->rows.y[0].width, warp), result, v, x, w, y);
    recorded.change_argument(*before, back);
    recorded.widen_grid(divide_up(y.width, warp), divide_up(y.size, lora_rows), back);
    return true;
}

template <class T>
void launch_lora(cuda_executor const& at, lora_result result, T const* v, cuda_rows<float const> x, T const* w, cuda_rows<float> y) {
    if (y.size == 0) return;
    if constexpr (std::is_same_v<T, bf16>)
        if (takes_low_rank<T>(at, x.width, y.width))
            return launch(at, lora_mma_kernel<T>, low_rank_grid(y.size, y.width), dim3(low_rank_threads), low_rank_shared, result, v, x,
                          rows_are_aligned(x), w, y);
    cuda_recording& recorded = at.recorder->recorded();
    lora_products<T> alone;
    alone.add(0, result, v, x, w, y);
    dim3 const grid(divide_up(y.width, warp), divide_up(y.size, lora_rows));
    auto const shift = recorded.argument<shift_arguments<T>>(reinterpret_cast<void const*>(token_shift_kernel<T>));
    if (shift && result == lora_result::tanh && shift->outputs.size == 1 && shift->in.keeps_last == 0 && shift->in.of.each[0].first == 0 &&
        rows_of(shift->in.of) == x.size && same_rows(shift->outputs.y[0], x) && apart(shift->in.x, y) && apart(x, y)) {
        recorded.drop_last();
        return launch(at, shifted_lora_kernel<T>, grid, dim3(warp * lora_slices), lora_shared, shifted_lora<T>{*shift, alone});
    }
    launch(at, lora_kernel<T>, grid, dim3(warp * lora_slices), lora_shared, alone);
}

}  // namespace device

template <class T>
void cuda_weight_kernels<T>::lora_down(cuda_executor const& at, cuda_rows<float const> x, T const* w1, cuda_rows<float> h) {
    device::launch_lora<T>(at, device::lora_result::tanh, nullptr, x, w1, h);
}
template <class T>
void cuda_weight_kernels<T>::lora_up(cuda_executor const& at, T const* v, cuda_rows<float const> h, T const* w2, cuda_rows<float> y) {
    device::lora_result const result = v != nullptr ? device::lora_result::on_row : device::lora_result::add;
    bool const may_join = !device::takes_low_rank<T>(at, h.width, y.width);
    if (!may_join || !device::join_lora<T>(at.recorder->recorded(), 0, result, v, h, w2, y)) device::launch_lora<T>(at, result, v, h, w2, y);
}
/// The second of two that follow one another joins the first, product by product, if it does not depend on it: h is then where the first's is not.
template <class T>
void cuda_weight_kernels<T>::lora(cuda_executor const& at, T const* v, cuda_rows<float const> x, T const* w1, cuda_rows<float> h, T const* w2,
                                  cuda_rows<float> y) {
    cuda_recording& recorded = at.recorder->recorded();
    cuda_rows<float> low{h.data, x.size, h.stride, h.width};
    auto const before = recorded.argument<device::lora_products<T>>(reinterpret_cast<void const*>(device::lora_kernel<T>));
    if (before && !device::takes_low_rank<T>(at, x.width, h.width) && before->rows.size == 1 && before->rows.result[0] != device::lora_result::tanh) {
        if (before->rows.x[0].data == low.data) low.data = h[x.size];
        if (before->rows.apart_from(x, low) && device::join_lora<T>(recorded, 1, device::lora_result::tanh, nullptr, x, w1, low))
            return lora_up(at, v, {low.data, low.size, low.stride, low.width}, w2, y);
    }
    lora_down(at, x, w1, low);
    lora_up(at, v, {low.data, low.size, low.stride, low.width}, w2, y);
}

}  // namespace goldfinch::detail
