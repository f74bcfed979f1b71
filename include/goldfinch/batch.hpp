// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <goldfinch/view.hpp>

namespace goldfinch {

/// The sequences whose tokens go through a model together. Every activation holds the rows of all of them, one sequence after
/// another: those of sequence i are [first[i], first[i + 1]). Most operations see rows and no boundaries. Refers to arrays of its
/// maker's, on the host; `state` points to memory of the backend.
template <class Scalar>
struct batch {
    std::size_t size = 0;                   ///< sequences
    Scalar* const* state = nullptr;         ///< [size] where the state of each begins
    std::size_t const* first = nullptr;     ///< [size + 1] the first row of each, and behind the last the number of rows
    std::size_t const* position = nullptr;  ///< [size] how many tokens of each came before its first row

    constexpr std::size_t rows(std::size_t i) const { return first[i + 1] - first[i]; }
};

namespace detail {

/// Up to this many tokens at once each has the results that it has alone, to the last bit, where a backend computes in float32. Weights set the time
/// then: they are read once.
inline constexpr std::size_t few_tokens = 16;

}  // namespace detail

/// A tensor of the state of each sequence in a batch.
template <class Backend, std::size_t... Extents>
struct state_tensor {
    using scalar = typename Backend::scalar;
    static constexpr std::size_t size = (Extents * ... * 1);  ///< elements, of one sequence

    batch<scalar> const* of = nullptr;
    std::size_t offset = 0;  ///< of the tensor in a state

    /// Sequence i's.
    constexpr tensor<scalar, Extents...> operator[](std::size_t i) const { return {of->state[i] + offset}; }
};

/// A batch of one sequence, with the arrays that it refers to.
template <class Scalar>
class single {
public:
    /// `rows` rows of a sequence whose state is at `state`, the first of them at `position`.
    single(Scalar* state, std::size_t rows, std::size_t position) : state_(state), first_{0, rows}, position_(position) {}
    single(single const&) = delete;
    single& operator=(single const&) = delete;

    operator batch<Scalar> const&() const { return view_; }

    /// The tensor at the beginning of its state.
    template <class Backend, std::size_t... Extents>
    state_tensor<Backend, Extents...> state() const {
        return {&view_, 0};
    }

private:
    Scalar* state_;
    std::size_t first_[2], position_;
    batch<Scalar> view_{1, &state_, first_, &position_};
};

}  // namespace goldfinch
