// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
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

private:
    typename Backend::template buffer<value_type> values_ = typename Backend::template buffer<value_type>(size);
};

/// A state with nothing in it.
struct no_state {
    static constexpr void list(auto&, auto const&) {}
};

/// A weight tensor of a model, as those see it who care for its name and shape and not for its type.
template <class T>
struct parameter {
    std::string name;                  ///< in the checkpoint
    std::vector<std::uint64_t> shape;  ///< in the checkpoint
    std::size_t size;                  ///< elements
    T** data;                          ///< the view's pointer
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

/// All weights below a node, in order.
template <class T, class Node>
std::vector<parameter<T>> list_parameters(Node& node) {
    std::vector<parameter<T>> list;
    auto const add = [&](std::string const& name, auto const& extents, std::size_t size, T*& data) {
        list.push_back({name, {extents.begin(), extents.end()}, size, &data});
    };
    walk(node, "", [&](std::string const& name, auto& t) {
        if constexpr (requires { t.stored_extents; }) add(name, t.stored_extents, t.size, t.data);
        else add(name, t.extents, t.size, t.data);
    });
    return list;
}

/// All memory of the states below a node, in order.
template <class S, class Node>
std::vector<std::span<S>> list_states(Node& node) {
    std::vector<std::span<S>> list;
    walk(node, "", [&](std::string const&, auto& t) { list.emplace_back(t.data(), t.size); });
    return list;
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

}  // namespace detail

}  // namespace goldfinch
