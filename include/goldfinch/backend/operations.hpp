// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

#include <goldfinch/batch.hpp>
#include <goldfinch/compiler.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/view.hpp>

// What a backend offers: its types, and every operation once. Layers and caches are written over these and know nothing else of a backend;
// operations know nothing of layers. They are free functions, found by the type of their first argument. reference.hpp has all of them in
// plain Eigen.
//
// Conventions. x, h and others that are read come before y and others that are written. All are sequences [T, width], one row a token. What
// is written comes uninitialised and must not overlap what is read, unless it says that it may be the same. All that a call is given have as
// many rows. `reference` asserts both where NDEBUG is not defined, and so do transform, scan and inner_product on every CPU backend; other
// operations of other backends do not look. Results do not depend on the number of threads. An operation allocates nothing that outlives it.

namespace goldfinch {

/// Where a model computes: reference, simd<Weight>.
///
///     weight                      what norms, mixing vectors, low-rank factors and embeddings are stored as
///     scalar                      what activations and states are
///     linear_weights<Out, In>     the view of a product's weights
///     sparse_input_weights<Out, In>    that of a product whose input is zero in many channels, or linear_weights
///     buffer<T>                   owned memory of the backend: data(), size(), resize(n), zero at first; a copy is its own, one that was moved from is empty
///     on_host                     whether that is memory of the host
///     most_kept_bytes             how much of what keys and values are made from a run through the GOLD blocks keeps in temporaries for all of them
///     keeps_rebuilt               whether a model's working set may keep keys and values that were made, which then have the type that caches keep
///     tokens_a_pass               how many tokens go through a model together, at most
///     most_rebuilt_bytes          (may be static) how much of keys and values is made at once where it is more than a tile
///     upload(to, host, bytes), download(from, host, bytes), clear(to, bytes)    (static) copy to and from the host, and set to zero
///     uploads                     (may be missing) a faster upload of weights: copy(to, host, bytes), which may be under way until finish()
///     runtime                     what a model owns, made from a number of threads: threads(), threads(n), each(count, f) for work of the host, and
///     runtime::lease              the right to work for one call, made from a runtime; a Backend is made from its executor()
template <class Backend>
concept backend = requires(Backend const& be, typename Backend::runtime& runtime, void* p, void const* q, std::size_t n) {
    typename Backend::weight;
    typename Backend::scalar;
    typename Backend::runtime::lease;
    typename Backend::template buffer<float>;
    typename Backend::template linear_weights<32, 32>;
    typename Backend::template sparse_input_weights<32, 32>;
    { Backend::on_host } -> std::convertible_to<bool>;
    { Backend::most_kept_bytes } -> std::convertible_to<std::size_t>;
    { Backend::keeps_rebuilt } -> std::convertible_to<bool>;
    { Backend::tokens_a_pass } -> std::convertible_to<std::size_t>;
    { be.most_rebuilt_bytes } -> std::convertible_to<std::size_t>;
    Backend::upload(p, q, n);
    Backend::download(q, p, n);
    Backend::clear(p, n);
    runtime.threads(n);
    { runtime.threads() } -> std::convertible_to<std::size_t>;
};

namespace detail::operations {

/// Sizes and arguments with which the operations are looked for.
inline constexpr std::size_t D = 64, R = 32, H = 2, N = D / H, K = 3, Out = 96, V = 256;
template <class B, std::size_t Width = D>
using in = inputs<B, Width>;
template <class B, std::size_t Width = D>
using out = outputs<B, Width>;
template <class B, std::size_t... Extents>
using weights = tensor<typename B::weight const, Extents...>;
template <class B>
using sequences = batch<typename B::scalar>;

/// Placeholder of what softmax_attention reads.
struct some_tiles {
    std::size_t positions(std::size_t i) const;
    std::size_t owner(std::size_t i, std::size_t tile) const;
    template <class B, class Use>
    void read(B const&, std::size_t, std::size_t, Use const& use) const {
        use(in<B>{}, in<B>{});
    }
};

/// Placeholder of a mixer's own function.
struct some_function {
    template <class... Elements>
    GOLDFINCH_FN void operator()(Elements&&...) const {}
};

// Rows and memory ----------------------------------------------------------------------------------------------------------------

/// temporary<D>(be, T): T uninitialised rows of scalars, an outputs<Backend, D> that ends with its scope. The last made ends first.
/// temporary_of<bf16, D>(be, T): the same of bf16, if the backend keeps_rebuilt.
template <class B>
concept has_temporary = requires(B const& be) {
    { temporary<D>(be, std::size_t{}) } -> std::convertible_to<out<B>>;
};

/// batch_invariant(be): the same backend, whose products, linear and those with low-rank matrices, give a row the same bits whatever rows are beside it
/// and however many.
///
/// rounds_few(be), which may be missing: the same backend, whose products may round few rows as they round many; of a batch_invariant one, those with low-rank
/// matrices too.
template <class B>
concept has_batch_invariant = requires(B const& be) {
    { batch_invariant(be) } -> std::same_as<B>;
};

/// upload(be, tokens): a span of token ids in memory of the backend, until the end of the scope.
template <class B>
concept has_upload = requires(B const& be, std::span<token const> tokens) {
    { upload(be, tokens) } -> std::convertible_to<std::span<token const>>;
};

/// embed(be, table, ids, y): y_t = table[ids_t], for table [V, D] and ids in memory of the backend.
template <class B>
concept has_embed = requires(B const& be, weights<B, V, D> table, std::span<token const> ids, out<B> y) {
    embed(be, table, ids, y);
};

/// copy(be, x, y): y = x, row after row, so that rows can be moved up.
template <class B>
concept has_copy = requires(B const& be, in<B> x, out<B> y) {
    copy(be, x, y);
};

/// clear(be, y): y = 0.
template <class B>
concept has_clear = requires(B const& be, out<B> y) {
    clear(be, y);
};

/// read_rows(be, x, to): the rows of x as floats on the host, [T, D]: the one way back from the backend.
template <class B>
concept has_read_rows = requires(B const& be, in<B> x, float* to) {
    read_rows(be, x, to);
};

/// parallel(be, n, f): f(backend, i) for every i below n, in any order, perhaps at once. The backend that f gets has temporaries of its own.
template <class B>
concept has_parallel = requires(B const& be, void (*f)(B const&, std::size_t)) {
    parallel(be, std::size_t{}, f);
};

// Norms --------------------------------------------------------------------------------------------------------------------------

/// layer_norm(be, p, x, y, eps = 1e-5, groups = 1): LayerNorm in each of `groups` equal runs of channels,
/// y = (x - mean) / sqrt(variance + eps) * p.weight + p.bias. y may be x.
template <class B>
concept has_layer_norm = requires(B const& be, norm_weights<typename B::weight const, D> const& p, in<B> x, out<B> y) {
    layer_norm(be, p, x, y);
    layer_norm(be, p, x, y, 1e-5, H);
};

/// rms_norm(be, x, y): y = x / (||x|| / sqrt(D) + 1e-8). y may be x.
template <class B>
concept has_rms_norm = requires(B const& be, in<B> x, out<B> y) {
    rms_norm(be, x, y);
};

// Token shift: x_{t-1} is the row before, in the same sequence; before its first row in x stands `before`, a tensor [D] of its state ------

/// token_shift(be, x, before, mu, y): y_t = x_t + (x_{t-1} - x_t) * mu. Also for several outputs, {mu_0, mu_1, ...}, {y_0, y_1, ...}.
template <class B>
concept has_token_shift = requires(B const& be, in<B> x, state_tensor<B, D> before, weights<B, D> mu, out<B> y) {
    token_shift(be, x, before, mu, y);
    token_shift(be, x, before, {mu, mu}, {y, y});
};

/// token_shift(be, x, before, h, w2, mu, y): y_t = x_t + (x_{t-1} - x_t) * (mu + h_t w2), for h [T, R] and w2 [R, D]. Also for K outputs, with
/// h [T, K * R], a run of R for each, w2 [K, R, D], {mu_0, ...}, {y_0, ...}.
template <class B>
concept has_data_dependent_token_shift = requires(B const& be, in<B> x, state_tensor<B, D> before, in<B, R> h, in<B, K * R> hs, weights<B, R, D> w2,
                                                  weights<B, K, R, D> w2s, weights<B, D> mu, out<B> y) {
    token_shift(be, x, before, h, w2, mu, y);
    token_shift(be, x, before, hs, w2s, {mu, mu, mu}, {y, y, y});
};

/// keep_last(be, x, state): the state [D] of every sequence = its last row of x; unchanged where it has none.
template <class B>
concept has_keep_last = requires(B const& be, in<B> x, state_tensor<B, D> state) {
    keep_last(be, x, state);
};

// Products -----------------------------------------------------------------------------------------------------------------------

/// linear(be, w, x, y): y_t = w x_t, for w [Out, In]; also for sparse_input_weights.
template <class B>
concept has_linear = requires(B const& be, linear_weights<B, Out, D> w, sparse_input_weights<B, Out, D> s, in<B> x, out<B, Out> y) {
    linear(be, w, x, y);
    linear(be, s, x, y);
};

/// lora_down(be, x, w1, h): h_t = tanh(x_t w1), for w1 [In, R]. lora_up(be, h, w2, y): y_t += h_t w2, for w2 [R, Out].
/// lora(be, x, w1, w2, y): y_t += tanh(x_t w1) w2; y may be x. lora(be, v, x, w1, w2, y): y_t = v + tanh(x_t w1) w2.
template <class B>
concept has_lora = requires(B const& be, in<B> x, weights<B, D, R> w1, out<B, R> h, weights<B, R, Out> w2, weights<B, Out> v, out<B, Out> y) {
    lora_down(be, x, w1, h);
    lora_up(be, h, w2, y);
    lora(be, x, w1, w2, y);
    lora(be, v, x, w1, w2, y);
};

// Recurrence ---------------------------------------------------------------------------------------------------------------------

/// decay(be, w): the decay of a channel, w = exp(-exp(w)), in place. decay(be, w, k): also k = k * (1 - w), without the loss of digits that
/// 1 - w has where w is nearly 1.
template <class B>
concept has_decay = requires(B const& be, out<B> w, out<B> k) {
    decay(be, w);
    decay(be, w, k);
};

/// wkv6(be, r, k, v, w, state, y): the recurrence of RWKV-6 per head and sequence, for a state S [H, key channel, value channel]:
/// y_t = r_t S, then S = diag(w_t) S + k_t^T v_t. wkv6(be, r, k, v, w, u, state, y): with a bonus u [H, N],
/// y_t = r_t (S + diag(u) k_t^T v_t). y may be r.
template <class B>
concept has_wkv6 = requires(B const& be, in<B> x, weights<B, H, N> u, state_tensor<B, H, N, N> state, out<B> y) {
    wkv6(be, x, x, x, x, state, y);
    wkv6(be, x, x, x, x, u, state, y);
};

// Channel by channel -------------------------------------------------------------------------------------------------------------

/// add(be, x, y): y += x. relu_squared(be, x): x = max(x, 0)^2. sigmoid_gate(be, gate, x): x = sigmoid(gate) * x.
/// silu_gate(be, gate, x): x = gate * sigmoid(gate) * x.
template <class B>
concept has_elementwise = requires(B const& be, in<B> gate, out<B> x) {
    add(be, gate, x);
    relu_squared(be, x);
    sigmoid_gate(be, gate, x);
    silu_gate(be, gate, x);
};

/// rope<N>(be, sequences, x, base, rescale): rotary embedding of every head of N channels, in place: pair (2i, 2i+1) of the row at position p
/// turns by p / rescale * base^(-2i/N). `sequences` say where the rows of x stand.
template <class B>
concept has_rope = requires(B const& be, sequences<B> const& of, out<B> x) {
    rope<N>(be, of, x, 1e4, 1.0);
};

/// transform(be, f, x...): f(x_t[i]...) for every row t and channel i of the widest x, for functions of a mixer's own. An x is rows, outputs to
/// be written or inputs to be read; narrower rows have a value for each of as many equal runs of channels, such as heads; or a parameter: [D], the
/// same for all rows, or [D, K], which f gets as a std::array. f may run anywhere: it captures by value, and is marked GOLDFINCH_FN.
/// scan(be, f, state, x...): f(s, x_t[i]...) for every channel, in the order of a sequence's rows, where s is the channel's value in the state
/// [D]: a recurrence over time. An x may also be another state [D].
template <class B>
concept has_functions = requires(B const& be, state_tensor<B, D> state, weights<B, D> p, weights<B, D, K> taps, in<B, H> heads, out<B> x) {
    transform(be, some_function{}, x, x);
    scan(be, some_function{}, state, x, p, taps, heads);
};

/// inner_product(be, a, b, y): y_t[h] = a_t . b_t over the channels of head h, for a, b [T, A] and y [T, H].
template <class B>
concept has_inner_product = requires(B const& be, in<B> a, out<B> b, out<B, H> y) {
    inner_product(be, a, b, y);
};

// Caches and attention -----------------------------------------------------------------------------------------------------------

/// pack(be, x, y, scales): rows as a cache keeps them, y [T, D] of float, bf16 or int8. Integers carry a scale a row: value = integer * scale,
/// scale = largest magnitude / 127. unpack(be, y, scales, x): the way back.
template <class B>
concept has_pack = requires(B const& be, out<B> x, sequence<float, D> f, sequence<bf16, D> b, sequence<int8, D> i, float* scales) {
    pack(be, x, f, scales);
    pack(be, x, b, scales);
    pack(be, x, i, scales);
    unpack(be, f, scales, x);
    unpack(be, b, scales, x);
    unpack(be, i, scales, x);
};

/// softmax_attention<H>(be, sequences, q, tiles, y): attention of H heads, from each row of q [T, A] to the positions of its sequence up to its
/// own: y_t = softmax_s(q_t . K_s / sqrt(A / H)) V_s per head. The positions come in tiles of detail::page_positions:
///
///     tiles.positions(i)                  how many sequence i has; the rows of q are its last ones
///     tiles.owner(i, tile)                the first sequence that has the same tile: sequences that share one read it once
///     tiles.read(be, i, tile, use)        use(K, V) with its keys and values, sequences [n, A] of scalars, or of float or bf16 as a cache keeps them;
///                                         where most_rebuilt_bytes are more than a tile's also with those of some tiles behind it, which need not be
///                                         read then. Not for the same tile twice at once
template <class B>
concept has_softmax_attention = requires(B const& be, sequences<B> const& of, in<B> q, some_tiles const& tiles, out<B> y) {
    softmax_attention<H>(be, of, q, tiles, y);
};

}  // namespace detail::operations

namespace detail {

/// Whether a backend has every operation: its value is true, the first that is missing is a sentence.
template <class B>
struct operations_of : std::true_type {
    static_assert(operations::has_temporary<B>, "goldfinch: this backend lacks temporary<D>(be, T)");
    static_assert(operations::has_batch_invariant<B>, "goldfinch: this backend lacks batch_invariant(be)");
    static_assert(operations::has_upload<B>, "goldfinch: this backend lacks upload(be, tokens)");
    static_assert(operations::has_embed<B>, "goldfinch: this backend lacks embed(be, table, ids, y)");
    static_assert(operations::has_copy<B>, "goldfinch: this backend lacks copy(be, x, y)");
    static_assert(operations::has_clear<B>, "goldfinch: this backend lacks clear(be, y)");
    static_assert(operations::has_read_rows<B>, "goldfinch: this backend lacks read_rows(be, x, to)");
    static_assert(operations::has_parallel<B>, "goldfinch: this backend lacks parallel(be, n, f)");
    static_assert(operations::has_layer_norm<B>, "goldfinch: this backend lacks layer_norm(be, p, x, y, eps, groups)");
    static_assert(operations::has_rms_norm<B>, "goldfinch: this backend lacks rms_norm(be, x, y)");
    static_assert(operations::has_token_shift<B>, "goldfinch: this backend lacks token_shift(be, x, before, mu, y)");
    static_assert(operations::has_data_dependent_token_shift<B>, "goldfinch: this backend lacks token_shift(be, x, before, h, w2, mu, y)");
    static_assert(operations::has_keep_last<B>, "goldfinch: this backend lacks keep_last(be, x, state)");
    static_assert(operations::has_linear<B>, "goldfinch: this backend lacks linear(be, w, x, y)");
    static_assert(operations::has_lora<B>, "goldfinch: this backend lacks lora(be, x, w1, w2, y), or lora_down or lora_up");
    static_assert(operations::has_decay<B>, "goldfinch: this backend lacks decay(be, w) or decay(be, w, k)");
    static_assert(operations::has_wkv6<B>, "goldfinch: this backend lacks wkv6(be, r, k, v, w, state, y), or the one with a bonus u");
    static_assert(operations::has_elementwise<B>, "goldfinch: this backend lacks add, relu_squared, sigmoid_gate or silu_gate");
    static_assert(operations::has_functions<B>, "goldfinch: this backend lacks transform(be, f, x...) or scan(be, f, state, x...)");
    static_assert(operations::has_inner_product<B>, "goldfinch: this backend lacks inner_product(be, a, b, y)");
    static_assert(operations::has_rope<B>, "goldfinch: this backend lacks rope<N>(be, sequences, x, base, rescale)");
    static_assert(operations::has_pack<B>, "goldfinch: this backend lacks pack(be, x, y, scales) or unpack");
    static_assert(operations::has_softmax_attention<B>, "goldfinch: this backend lacks softmax_attention<H>(be, sequences, q, tiles, y)");
};
template <class B>
inline constexpr bool checked_backend = operations_of<B>::value;

}  // namespace detail

}  // namespace goldfinch
