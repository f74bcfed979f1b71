// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

// A layer declares its weights and its state once, each as a struct with a `list`: (checkpoint name, member) pairs, where a member is a
// tensor or a struct with a list of its own. Loading, saving, counting, random initialisation, the layout of states and error messages
// all walk that list. Shapes are the members' types.

namespace goldfinch::detail {

/// A name in a list: text, and for the blocks of a model a number behind it. Names are joined by dots; an empty one adds nothing.
struct list_name {
    constexpr list_name(char const* t) : text(t) {}
    constexpr list_name(char const* t, std::size_t i) : text(t), index(i), numbered(true) {}

    char const* text;
    std::size_t index = 0;
    bool numbered = false;
};

/// Placeholder visitor, for concept checks.
struct some_visitor {
    void operator()(list_name const& name, auto& member) const;
};

/// Whether a struct of weights or states has a list. What has none is a tensor.
template <class Node>
concept listed = requires(Node& node, some_visitor const& f) {
    Node::list(node, f);
};
template <class Node>
concept leaf = !listed<Node>;

/// f(name, tensor) of every tensor below a node, in order; the name is the tensor's own, without those around it.
template <class Node, class F>
constexpr void each_leaf(Node& node, F const& f) {
    std::remove_const_t<Node>::list(node, [&](list_name const& name, auto& member) {
        if constexpr (leaf<std::remove_const_t<std::remove_reference_t<decltype(member)>>>)
            f(name, member);
        else
            each_leaf(member, f);
    });
}

/// Elements of all tensors below a node, by their types.
template <class Node>
constexpr std::size_t count_elements() {
    Node node{};
    std::size_t sum = 0;
    if constexpr (leaf<Node>)
        sum = Node::size;
    else
        each_leaf(node, [&](list_name const&, auto& member) { sum += std::remove_reference_t<decltype(member)>::size; });
    return sum;
}

}  // namespace goldfinch::detail
