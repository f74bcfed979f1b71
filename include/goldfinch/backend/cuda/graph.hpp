// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <goldfinch/backend/cuda/driver.hpp>

namespace goldfinch::detail {

/// Launches in order, with their arguments by value. Arguments are compared byte by byte, so their types spell padding out, whose bytes could differ otherwise.
class cuda_recording {
public:
    template <class... Arguments>
    void add(void const* kernel, cuda_extents grid, cuda_extents block, std::size_t shared, Arguments const&... arguments) {
        static_assert((std::is_trivially_copyable_v<Arguments> && ...), "goldfinch: the arguments of a kernel reach a GPU as bytes");
        node const added{kernel, grid, block, shared, offsets_.size(), sizeof...(Arguments), bytes_.size(), header_of<Arguments...>()};
        try {
            (add_argument(arguments), ...);
            nodes_.push_back(added);
        } catch (...) {
            offsets_.resize(added.first_argument), bytes_.resize(added.begin);
            throw;
        }
    }

    /// The only argument of a launch, `back` before the last, where it is one of the kernel.
    template <class Argument>
    std::optional<Argument> argument(void const* kernel, std::size_t back = 0) const {
        if (back >= nodes_.size() || nodes_[nodes_.size() - 1 - back].kernel != kernel) return std::nullopt;
        return load<Argument>(nodes_[nodes_.size() - 1 - back]);
    }
    /// What the only argument of the last launch begins with, whatever the kernel, where the argument's type says so: using header = Header.
    template <class Header>
    std::optional<Header> header() const {
        if (nodes_.empty() || nodes_.back().header != &id<Header>) return std::nullopt;
        return load<Header>(nodes_.back());
    }
    /// Of an argument, or of its beginning.
    template <class Argument>
    void change_argument(Argument const& to, std::size_t back = 0) {
        std::memcpy(bytes_.data() + offsets_[nodes_[nodes_.size() - 1 - back].first_argument], &to, sizeof to);
    }
    /// Makes a launch's grid so many blocks wider, and at least so high.
    void widen_grid(unsigned blocks, unsigned height, std::size_t back = 0) {
        cuda_extents& grid = nodes_[nodes_.size() - 1 - back].grid;
        grid.x += blocks, grid.y = std::max(grid.y, height);
    }
    void drop_last() {
        offsets_.resize(nodes_.back().first_argument);
        bytes_.resize(nodes_.back().begin);
        nodes_.pop_back();
    }

    std::size_t size() const { return nodes_.size(); }
    bool empty() const { return nodes_.empty(); }
    void clear() { nodes_.clear(), offsets_.clear(), bytes_.clear(); }

    /// f(launch), whose addresses are this recording's.
    template <class F>
    void with_launch(std::size_t i, F const& f) {
        node const& n = nodes_[i];
        addresses_.clear();
        for (std::size_t k = 0; k < n.arguments; ++k) addresses_.push_back(bytes_.data() + offsets_[n.first_argument + k]);
        f(cuda_launch{n.kernel, n.grid, n.block, n.shared, addresses_.data()});
    }

    /// Whether another recording has the same kernels in the same order.
    bool same_shape(cuda_recording const& other) const {
        auto const same_kernel = [](node const& a, node const& b) { return a.kernel == b.kernel; };
        return std::equal(nodes_.begin(), nodes_.end(), other.nodes_.begin(), other.nodes_.end(), same_kernel);
    }
    /// Whether a launch is the same in another recording of the same shape.
    bool same_launch(std::size_t i, cuda_recording const& other) const {
        node const &a = nodes_[i], &b = other.nodes_[i];
        std::size_t const n = end_of(i) - a.begin;
        return same(a.grid, b.grid) && same(a.block, b.block) && a.shared == b.shared && n == other.end_of(i) - b.begin &&
               std::memcmp(bytes_.data() + a.begin, other.bytes_.data() + b.begin, n) == 0;
    }

private:
    struct node {
        void const* kernel;
        cuda_extents grid, block;
        std::size_t shared, first_argument, arguments, begin;  // of its bytes
        void const* header;
    };
    /// Its address stands for a type.
    template <class Header>
    static constexpr char id = 0;
    template <class First, class... Rest>
    static constexpr void const* header_of() {
        if constexpr (sizeof...(Rest) == 0 && requires { typename First::header; })
            return &id<typename First::header>;
        else
            return nullptr;
    }

    static bool same(cuda_extents a, cuda_extents b) { return a.x == b.x && a.y == b.y && a.z == b.z; }
    std::size_t end_of(std::size_t i) const { return i + 1 < nodes_.size() ? nodes_[i + 1].begin : bytes_.size(); }

    template <class Argument>
    Argument load(node const& n) const {
        Argument result;
        std::memcpy(static_cast<void*>(&result), bytes_.data() + offsets_[n.first_argument], sizeof result);
        return result;
    }

    template <class Argument>
    void add_argument(Argument const& argument) {
        static_assert(alignof(Argument) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
        std::size_t const at = (bytes_.size() + alignof(Argument) - 1) / alignof(Argument) * alignof(Argument);
        bytes_.resize(at + sizeof argument);
        std::memcpy(bytes_.data() + at, &argument, sizeof argument);
        offsets_.push_back(at);
    }

    std::vector<node> nodes_;
    std::vector<std::size_t> offsets_;  // of arguments in bytes_
    std::vector<std::byte> bytes_;
    std::vector<void*> addresses_;
};

/// A CUDA graph of transfers and then launches, one after another.
class cuda_graph {
    using driver = cuda_driver<>;

public:
    cuda_graph(std::span<cuda_transfer const> transfers, cuda_recording& launches) : graph_(driver::make_graph()) {
        try {
            nodes_.reserve(transfers.size() + launches.size());
            for (cuda_transfer const& t : transfers) add(t);
            for (std::size_t i = 0; i < launches.size(); ++i) launches.with_launch(i, [&](cuda_launch const& l) { add(l); });
            executable_ = driver::instantiate(graph_);
        } catch (...) {
            driver::free_graph(graph_, nullptr);  // of an object that never was
            throw;
        }
    }
    cuda_graph(cuda_graph const&) = delete;
    cuda_graph& operator=(cuda_graph const&) = delete;
    ~cuda_graph() { driver::free_graph(graph_, executable_); }

    /// Changes the i-th node.
    template <class What>
    void set(std::size_t i, What const& what) {
        driver::set_node(executable_, nodes_[i], what);
    }
    void launch(void* stream) { driver::launch_graph(executable_, stream); }

private:
    template <class What>
    void add(What const& what) {
        nodes_.push_back(driver::add_node(graph_, nodes_.empty() ? nullptr : nodes_.back(), what));
    }

    void* graph_;
    void* executable_ = nullptr;
    std::vector<void*> nodes_;
};

}  // namespace goldfinch::detail
