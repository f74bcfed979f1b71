// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <goldfinch/message.hpp>
#include <goldfinch/view.hpp>

// A layer declares its weights and its state once, each as a struct with a `list`: (checkpoint name, member) pairs, where a
// member is a tensor or a struct with a list of its own. Loading, saving, counting, random initialisation, fingerprints and
// error messages all walk that list. Shapes are the members' types.

namespace goldfinch {

/// What a layer reads and writes: [T, Width] activations of a backend, and one row of them.
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
    std::string name;                    ///< in the checkpoint
    std::span<std::size_t const> shape;  ///< in the checkpoint
    std::size_t size;                    ///< elements
    T** data;                            ///< the view's pointer
};

namespace detail {

/// A name in a list: text, and for the blocks of a model a number behind it. Names are joined by dots; an empty one adds nothing.
struct list_name {
    constexpr list_name(char const* t) : text(t) {}
    constexpr list_name(char const* t, std::size_t i) : text(t), index(i), numbered(true) {}

    char const* text;
    std::size_t index = 0;
    bool numbered = false;
};

template <class Node>
concept leaf = requires {
    typename std::remove_const_t<Node>::value_type;
};

/// Collects all weights below a node, in order. Lists are read once in a model's life: what can be is out of line.
template <class T>
struct parameter_collector {
    std::vector<parameter<T>>& entries;
    std::string& prefix;

    template <class Node>
    void operator()(list_name const& name, Node& node) const {
        std::size_t const outer = enter(name);
        if constexpr (!leaf<Node>)
            Node::list(node, *this);
        else if constexpr (requires { Node::stored_extents; })
            add(Node::stored_extents, Node::size, node.data);
        else
            add(Node::extents, Node::size, node.data);
        prefix.resize(outer);
    }

private:
    GOLDFINCH_COLD std::size_t enter(list_name const& name) const {
        std::size_t const outer = prefix.size();
        if (*name.text != '\0') prefix.append(outer > 0 ? "." : "").append(name.text);
        if (name.numbered) prefix.append(std::to_string(name.index));
        return outer;
    }
    GOLDFINCH_COLD void add(std::span<std::size_t const> shape, std::size_t size, T*& data) const { entries.push_back({prefix, shape, size, &data}); }
};

/// All weights below a node, in order.
template <class T, class Node>
std::vector<parameter<T>> list_parameters(Node& node) {
    std::vector<parameter<T>> entries;
    std::string prefix;
    parameter_collector<T>{entries, prefix}("", node);
    return entries;
}

/// f(first value, how many) of every tensor of a state, in order.
template <class Node, class F>
void each_state(Node& node, F const& f) {
    if constexpr (leaf<Node>)
        f(node.data(), node.size);
    else
        std::remove_const_t<Node>::list(node, [&](list_name const&, auto& member) { each_state(member, f); });
}

/// Whether the list of some weights names all that is in them, which are views of a pointer each.
template <class Weights>
constexpr bool lists_all() {
    auto const count = [](auto const& self, auto const& node) -> std::size_t {
        using Node = std::remove_cvref_t<decltype(node)>;
        if constexpr (leaf<Node>) {
            return 1;
        } else {
            std::size_t sum = 0;
            Node::list(node, [&](list_name const&, auto& member) { sum += self(self, member); });
            return sum;
        }
    };
    return std::is_empty_v<Weights> || count(count, Weights{}) * sizeof(void*) >= sizeof(Weights);
}

/// Elements of all tensors below a node.
template <class Node>
constexpr std::size_t count_elements(Node const& node) {
    if constexpr (leaf<Node const>) {
        return Node::size;
    } else {
        std::size_t sum = 0;
        Node::list(node, [&](list_name const&, auto& member) { sum += count_elements(member); });
        return sum;
    }
}

}  // namespace detail

}  // namespace goldfinch
