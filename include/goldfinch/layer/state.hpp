// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/batch.hpp>
#include <goldfinch/layer/list.hpp>

// What layers keep of a sequence. The states of all layers lie in one buffer of the session, in the order of their lists; a layer gets
// a struct of state_tensors, which say where in it its own lie, for every sequence of the batch at work.

namespace goldfinch {

/// A state with nothing in it.
struct no_state {
    static constexpr void list(auto&, auto const&) {}
};

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

/// Elements that a state takes in a session's buffer.
template <class State>
inline constexpr std::size_t state_size = detail::count_elements<State>();

/// The state of type State that begins at `offset` in the buffers of the batch's sequences.
template <class State, class Scalar>
State state_at(batch<Scalar> const& sequences, std::size_t offset) {
    State result;
    detail::each_leaf(result, [&](detail::list_name const&, auto& member) {
        member.of = &sequences;
        member.offset = offset;
        offset += member.size;
    });
    return result;
}
template <class State, class Scalar>
State state_at(batch<Scalar> const&&, std::size_t) = delete;  // the state refers to the batch

}  // namespace goldfinch
