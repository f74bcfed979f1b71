// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <goldfinch/view.hpp>

// A layer declares its weights and its state once, each as a struct with a `list`: (checkpoint name, member) pairs, where a
// member is a tensor or a struct with a list of its own. Loading, saving, counting, random initialisation, fingerprints and
// error messages all walk that list. Shapes are the members' types.

namespace goldfinch {

/// What a layer reads and writes: [T, Width] activations of a backend.
template <class Backend, std::size_t Width>
using inputs = sequence<typename Backend::scalar const, Width>;
template <class Backend, std::size_t Width>
using outputs = sequence<typename Backend::scalar, Width>;
template <class Backend, std::size_t Width>
using input_row = vector<typename Backend::scalar const, Width>;

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

/// State of one sequence: owned memory of the backend, zero at the start. A copy is a copy.
template <class Backend, std::size_t... Extents>
class state_tensor {
public:
    using value_type = typename Backend::scalar;
    static constexpr std::size_t size = (Extents * ... * 1);

    tensor<value_type, Extents...> operator*() { return {values_.data()}; }
    value_type* data() { return values_.data(); }
    value_type const* data() const { return values_.data(); }
    void clear() { std::fill(values_.begin(), values_.end(), value_type{}); }

private:
    typename Backend::template buffer<value_type> values_ = typename Backend::template buffer<value_type>(size);
};

/// A state with nothing in it.
struct no_state {
    static constexpr void list(auto&, auto const&) {}
};

namespace detail {

template <class Node>
concept leaf = requires { typename std::remove_const_t<Node>::value_type; };

/// Calls f(name, tensor) for every tensor below a node of lists, names joined by dots. An empty name adds nothing.
template <class Node, class F>
void walk(Node& node, std::string const& prefix, F const& f) {
    if constexpr (leaf<Node>) {
        f(prefix, node);
    } else {
        std::remove_const_t<Node>::list(node, [&](auto const& name, auto& member) {
            std::string const own(name);
            walk(member, own.empty() || prefix.empty() ? prefix + own : prefix + "." + own, f);
        });
    }
}

/// Elements of all tensors below a node.
template <class Node>
constexpr std::size_t count_elements(Node const& node) {
    if constexpr (leaf<Node const>) {
        return Node::size;
    } else {
        std::size_t sum = 0;
        Node::list(node, [&](auto const&, auto& member) { sum += count_elements(member); });
        return sum;
    }
}

/// The shape a tensor has in a checkpoint.
template <class Tensor>
std::vector<std::uint64_t> stored_shape() {
    if constexpr (requires { Tensor::stored_extents; }) return {Tensor::stored_extents.begin(), Tensor::stored_extents.end()};
    else return {Tensor::extents.begin(), Tensor::extents.end()};
}

}  // namespace detail

}  // namespace goldfinch
