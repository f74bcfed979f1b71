// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/layer/parameter.hpp>

namespace goldfinch {

/// What a layer with a token shift keeps of a sequence: the last input [D].
template <class Backend, std::size_t D>
struct shift_state {
    state_tensor<Backend, D> shift;

    static constexpr void list(auto& self, auto const& f) { f("shift", self.shift); }
};

/// The same and the recurrence's matrices, for H heads of N channels: [head][key channel][value channel].
template <class Backend, std::size_t H, std::size_t N>
struct wkv6_state {
    state_tensor<Backend, H * N> shift;
    state_tensor<Backend, H, N, N> wkv;

    static constexpr void list(auto& self, auto const& f) {
        f("shift", self.shift);
        f("wkv", self.wkv);
    }
};

}  // namespace goldfinch
