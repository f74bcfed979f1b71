// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include <goldfinch/layer/list.hpp>
#include <goldfinch/view.hpp>

namespace goldfinch {

/// What a layer reads and writes: [T, Width] activations of a backend.
template <class Backend, std::size_t Width>
using inputs = sequence<typename Backend::scalar const, Width>;
template <class Backend, std::size_t Width>
using outputs = sequence<typename Backend::scalar, Width>;

/// The weights [Out, In] of a product with every token, `linear`: most of a model's bytes. The backend decides in which format they are
/// kept and how they are laid out. All other parameters (norms, mixing vectors, low-rank factors, embeddings) are plain tensors of
/// Backend::weight.
template <class Backend, std::size_t Out, std::size_t In>
using linear_weights = typename Backend::template linear_weights<Out, In>;

/// The same of a product whose input is zero in many channels, as behind relu_squared: a backend may lay them out so that it need not
/// read what is multiplied by zero. It may then have inputs<First, Count>(), the weights of some inputs alone.
template <class Backend, std::size_t Out, std::size_t In>
using sparse_input_weights = typename Backend::template sparse_input_weights<Out, In>;

/// A per-channel parameter: used as [N], stored in checkpoints as [1, 1, N].
template <class T, std::size_t N>
struct channel_vector : vector<T, N> {
    static constexpr std::array<std::size_t, 3> stored_extents{1, 1, N};
};

/// Weight and bias of a LayerNorm over N channels.
template <class T, std::size_t N>
struct norm_weights {
    vector<T, N> weight, bias;

    static constexpr void list(auto& self, auto const& f) {
        f("weight", self.weight);
        f("bias", self.bias);
    }
};

}  // namespace goldfinch
