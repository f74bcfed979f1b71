// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/operations.hpp>
#include <goldfinch/batch.hpp>
#include <goldfinch/cache/own_keys.hpp>
#include <goldfinch/cache/working_set.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/detail/run_memory.hpp>
#include <goldfinch/forward.hpp>
#include <goldfinch/hash.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/io/require_tensors.hpp>
#include <goldfinch/detail/session_file.hpp>
#include <goldfinch/layer/state.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/load.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/parameters.hpp>
#include <goldfinch/stack.hpp>
#include <goldfinch/weight/format.hpp>

namespace goldfinch {

namespace detail {

/// The model's side of a key cache: what keys and values are made from (key_cache in concepts.hpp).
template <config C, class Backend, class Stack>
struct key_source {
    static constexpr std::size_t vocab_size = C.vocab_size, width = C.n_embd, key_width = Stack::key_width, n_gold = Stack::n_gold;

    parameters<C, Backend, Stack> const& p;
    std::shared_ptr<working_set<Backend>> const& kept;
    run_memory& lists;

    /// e_t = LN(emb[token_t]; ln0)
    template <class Id>
    void embeddings(Backend const& be, std::span<Id const> tokens, outputs<Backend, width> e) const {
        look_up(be, tokens, e);
        normalise(be, e);
    }
    /// e_t before it is normalised.
    template <class Id>
    void look_up(Backend const& be, std::span<Id const> tokens, outputs<Backend, width> e) const {
        embed(be, p.emb, tokens, e);
    }
    void normalise(Backend const& be, outputs<Backend, width> e) const { layer_norm(be, p.ln0, e, e); }
    /// k_t from e_t and c_t
    void expand(Backend const& be, inputs<Backend, width> e, inputs<Backend, key_width> c, outputs<Backend, width> k) const {
        Stack::cat::expand(be, p.blocks.token_cat, e, c, k);
    }
    static constexpr bool has_parts = requires { requires Stack::cat::template has_parts<Backend>; };
    /// The part of k_t that depends on e_t alone, and k_t from that, in its place, and c_t.
    void expand_embedding(Backend const& be, inputs<Backend, width> e, outputs<Backend, width> y) const requires has_parts {
        Stack::cat::expand_embedding(be, p.blocks.token_cat, e, y);
    }
    void add_compressed(Backend const& be, inputs<Backend, key_width> c, outputs<Backend, width> k) const requires has_parts {
        Stack::cat::add_compressed(be, p.blocks.token_cat, c, k);
    }
    /// f(time mix, its weights, index) for every block above token_cat
    template <class F>
    void each_gold(F const& f) const {
        std::size_t index = 0;
        Stack::upper::each_block(p.blocks.above,
                                 [&](auto block, auto const& weights) { f(typename decltype(block)::type::time_mix{}, weights.att, index++); });
    }
};

/// The cache of a stack without token_cat.
struct no_keys {
    using state = no_state;
    static constexpr std::size_t row_bytes = 0, rebuilt_bytes = 0;
    static std::size_t bytes() { return 0; }
    static void reserve(std::size_t) {}
    static void resize(std::size_t) {}
    static bool valid() { return true; }
    static void transfer(auto&, auto&) {}
};

template <class Cache, class Backend, class Source, bool has_keys>
struct cache_store : std::type_identity<no_keys> {};
template <class Cache, class Backend, class Source>
struct cache_store<Cache, Backend, Source, true> : std::type_identity<typename Cache::template store<Backend, Source>> {};

template <class Stack>
concept is_stack = has_width<Stack> && requires {
    Stack::n_blocks;
    Stack::has_keys;
};

/// The weights of a model and what goes with them, whatever cache the model is for.
template <config C, class Backend, class Stack>
class model_data {
public:
    static constexpr std::size_t n_parameters = count_elements<parameters<C, Backend, Stack>>();

    parameters<C, Backend, Stack> p;
    typename Backend::runtime runtime;
    std::shared_ptr<working_set<Backend>> kept = std::make_shared<working_set<Backend>>();  // pages, too, refer to it
    run_memories memories;

    explicit model_data(load_options const& options) : runtime(runtime_options(options)) {}
    model_data(model_data const&) = delete;
    model_data& operator=(model_data const&) = delete;

    key_source<C, Backend, Stack> keys(run_memory& lists) const { return {p, kept, lists}; }

    void load(std::filesystem::path const& path, load_options const& options) {
        checkpoint const file = read_checkpoint(path);
        auto tensors = list_parameters(p);
        std::vector<expected_tensor> expected;
        for (auto const& t : tensors) expected.push_back({t.name, {t.shape.begin(), t.shape.end()}});
        require_tensors(file, expected, C);
        if (std::string const* const stack = io::stack_from_metadata(file); stack && *stack != description())
            io::fail(path, {"stack: this model's type has ", description(), ", the file ", escaped(*stack)});
        memory_.load(tensors, file, runtime, options);
    }

    void randomise(std::uint64_t seed) {
        auto tensors = list_parameters(p);
        memory_.randomise(tensors, seed, runtime);
    }

    void save(std::filesystem::path const& path) const {
        auto metadata = to_metadata(C);
        metadata["stack"] = description();
        auto views = p;
        memory_.save(list_parameters(views), path, metadata);
    }

    std::vector<weight_tensor> weights() const {
        std::vector<weight_tensor> result;
        auto views = p;
        for (parameter const& t : list_parameters(views)) {
            std::byte const* planes[weight_format::most_planes];
            t.format->planes_of(t.view, planes);
            result.push_back({t.name, {t.shape.begin(), t.shape.end()}, t.format, t.transposed, planes[0]});
        }
        return result;
    }

    model_fingerprint fingerprint() const {
        std::string text = description(), types;
        for (auto const& [key, value] : to_metadata(C)) append(text, {"|", key, "=", value});
        auto views = p;
        auto const tensors = list_parameters(views);
        for (parameter const& t : tensors) append(types, {t.format->name(), row_bytes(*t.format, 1024), "|"});  // the bytes of some row: formats of one name have several widths
        return {hash(text), hash(types) + sizeof(typename Backend::scalar), memory_.fingerprint(tensors)};
    }

private:
    /// All options for a runtime that takes them, or the number of threads.
    static decltype(auto) runtime_options(load_options const& options) {
        if constexpr (std::is_constructible_v<typename Backend::runtime, load_options const&>)
            return options;
        else
            return std::size_t{options.threads};
    }

    /// The stack in words, whole: what tells models of the same config apart.
    static std::string description() { return Stack::description(with_defaults(C)); }

    weight_memory<Backend> memory_;
};

}  // namespace detail

/// A GoldFinch model: its sizes, where it computes, what it caches and what it is made of are its type. An object is a handle:
/// copies share the weights, the threads and the working set, and sessions keep them alive. Everything but `threads(n)` and
/// `working_set(bytes)` is const and may be called from several threads at once.
template <config C, class Backend, class Cache, class Stack>
class model : valid_config<C> {
    static_assert(Stack::width == valid_config<C>::cfg.n_embd, "goldfinch: the parts of the stack must be n_embd wide");
    static_assert(Stack::n_blocks == valid_config<C>::cfg.n_layer, "goldfinch: the stack must have n_layer blocks");
    static_assert(detail::checked_backend<Backend> && Stack::template checked<Backend>);  // where they are not, a sentence has said why

public:
    static constexpr config cfg = valid_config<C>::cfg;  ///< the sizes, defaults filled in
    using backend_type = Backend;
    using cache_type = Cache;
    using stack_type = Stack;

private:
    using data = detail::model_data<cfg, Backend, Stack>;
    using cache = typename detail::cache_store<Cache, Backend, detail::key_source<cfg, Backend, Stack>, Stack::has_keys>::type;

public:
    // No moves: a handle is never empty.
    model(model const&) = default;
    model& operator=(model const&) = default;

    /// Values in all tensors.
    static constexpr std::size_t n_parameters = data::n_parameters;

    /// Reads a checkpoint, .safetensors or PyTorch's .pth, known by content. Weights of the backend's type are used where they
    /// lie in the mapped file, others are converted, and some laid out anew (sparse_input_weights). Throws load_error: it lists all that is missing, unexpected or mis-shaped.
    static model load(std::filesystem::path const& path, load_options const& options = {});

    /// A model with well-scaled random weights, the same for the same seed: for benchmarks and tests. Of the options it takes
    /// no notice of on_progress.
    static model random(std::uint64_t seed, load_options const& options = {});

    /// Writes a safetensors file in the backend's weight type, with the config in its metadata. The file appears when it is
    /// complete, so saving over the one that is mapped is safe. Throws load_error.
    void save(std::filesystem::path const& path) const;

    /// Sets the number of threads of all copies; 0: all cores. Results do not depend on it. Throws config_error for more than 256.
    void threads(std::size_t n);
    /// How many threads there are: fewer than asked for where the system has no more.
    std::size_t threads() const;

    /// Sets how many bytes of keys and values that were rebuilt from the caches of its sessions the model keeps, for all sessions of all copies together. What
    /// is too much goes at once, that of the session which was unused for longest first. Logits do not depend on it, to the last bit, and
    /// sessions stay as small as their cache type says. By default it is enough for default_working_set_tokens tokens.
    void working_set(std::size_t bytes);
    /// Bytes kept.
    std::size_t working_set_bytes() const;

    /// Bytes of the working set that a token takes: keys and values of all blocks above token_cat; 0 for a cache that rebuilds nothing.
    static constexpr std::size_t working_set_bytes_per_token = cache::rebuilt_bytes;
    static constexpr std::size_t default_working_set_tokens = 4096;

    /// All tensors of the weights, for programs that measure or show them. The memory is there as long as the model or a session of it.
    std::vector<weight_tensor> weights() const;

    /// A number that tells models apart: config, stack, cache, types, and samples of every tensor.
    std::uint64_t fingerprint() const;

private:
    detail::model_fingerprint fingerprints() const {
        using value = typename Cache::value;
        detail::model_fingerprint result = data_->fingerprint();
        result.types = detail::hash(Cache::name, detail::scramble(result.types + sizeof(value) + (std::is_integral_v<value> ? 64 : 0)));
        return result;
    }

    template <class Model>
    friend class session;
    template <class Model>
    friend class detail::session_batch;
    template <class Model>
    friend struct detail::counted;

    using S = typename Backend::scalar;
    static constexpr std::size_t D = cfg.n_embd, V = cfg.vocab_size;
    /// Keys and values that a block keeps of its own.
    using own_rows = detail::key_value_rows<Backend, typename Cache::value, D>;

    // What sessions compute. It is here, and not inline, so that `extern template` keeps it with the model: a GPU's functions can be called only where its
    // compiler has seen them.

    /// Runs tokens through the lower blocks, to x [T, D], and into the caches; own[i]: what the blocks of sequence i keep.
    void run_lower(Backend const& be, detail::run_memory& lists, batch<S> const& sequences, own_rows* const* own, cache* const* caches, std::span<token const> tokens,
                   outputs<Backend, D> x) const;
    /// x [T, D] in place through the upper blocks.
    void run_upper(Backend const& be, detail::run_memory& lists, batch<S> const& sequences, cache const* const* caches, outputs<Backend, D> x) const;
    /// y = head . LN(x; ln_out)
    void compute_logits(Backend const& be, inputs<Backend, D> x, outputs<Backend, V> y) const;

    /// Where the cache's part of a session's state begins, behind the blocks'.
    static constexpr std::size_t cache_state_at = Stack::template lower_state<Backend> + Stack::template upper_state<Backend>;

    explicit model(load_options const& options) : data_(std::make_shared<data>(options)) {
        working_set(options.working_set.value_or(default_working_set_tokens * working_set_bytes_per_token));
    }

    std::shared_ptr<data> data_;
};

/// A model whose arguments are something else: one sentence, and nothing else (as in detail/block_checks.hpp).
template <config C, class Backend, class Cache, class Stack>
requires(!backend<Backend> || !key_cache<Cache> || !detail::is_stack<Stack>) class model<C, Backend, Cache, Stack> {
    static_assert(backend<Backend>, "goldfinch: the second argument of model is a backend: goldfinch::simd<Weight> or goldfinch::reference");
    static_assert(key_cache<Cache>,
                  "goldfinch: the third argument of model is a cache type: compressed_keys<Value>, full_keys<Value> or expanded_kv<Value>");
    static_assert(detail::is_stack<Stack>, "goldfinch: the fourth argument of model is a stack, such as goldfinch_stack<C> or stack<Parts...>");
};

// Out of the class, where they are not inline: `extern template` then keeps other source files from compiling them, and with them the model.

template <config C, class Backend, class Cache, class Stack>
auto model<C, Backend, Cache, Stack>::load(std::filesystem::path const& path, load_options const& options) -> model {
    model lm(options);
    lm.data_->load(path, options);
    return lm;
}

template <config C, class Backend, class Cache, class Stack>
auto model<C, Backend, Cache, Stack>::random(std::uint64_t seed, load_options const& options) -> model {
    model lm(options);
    lm.data_->randomise(seed);
    return lm;
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::save(std::filesystem::path const& path) const {
    data_->save(path);
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::threads(std::size_t n) {
    data_->runtime.threads(n);
}

template <config C, class Backend, class Cache, class Stack>
std::size_t model<C, Backend, Cache, Stack>::threads() const {
    return data_->runtime.threads();
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::working_set(std::size_t bytes) {
    data_->kept->budget(bytes);
}

template <config C, class Backend, class Cache, class Stack>
std::size_t model<C, Backend, Cache, Stack>::working_set_bytes() const {
    return data_->kept->bytes();
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::run_lower(Backend const& be, [[maybe_unused]] detail::run_memory& lists, batch<S> const& sequences, own_rows* const* own,
                                                [[maybe_unused]] cache* const* caches, std::span<token const> tokens, outputs<Backend, D> x) const {
    [[maybe_unused]] auto const keys = data_->keys(lists);
    auto const e = temporary<D>(be, tokens.size());
    auto const ids = upload(be, tokens);
    keys.embeddings(be, std::span<token const>(ids), e);
    copy(be, e, x);
    Stack::forward_lower(be, data_->p.blocks, sequences, own, x);
    if constexpr (Stack::has_keys) {
        constexpr std::size_t Z = Stack::key_width;  // Clang 14 takes a dependent name here for no template's argument
        auto const c = temporary<Z>(be, tokens.size());
        Stack::cat::compress(be, data_->p.blocks.token_cat, x, c);
        cache::append(be, keys, state_at<typename cache::state>(sequences, cache_state_at), sequences, caches, tokens, e, c);
    }
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::run_upper(Backend const& be, [[maybe_unused]] detail::run_memory& lists, [[maybe_unused]] batch<S> const& sequences,
                                                [[maybe_unused]] cache const* const* caches, [[maybe_unused]] outputs<Backend, D> x) const {
    if constexpr (Stack::has_keys) {
        auto const keys = data_->keys(lists);
        typename cache::pass const pass(be, keys, sequences, caches);
        Stack::forward_upper(be, data_->p.blocks, sequences, pass, x);
    }
}

template <config C, class Backend, class Cache, class Stack>
void model<C, Backend, Cache, Stack>::compute_logits(Backend const& be, inputs<Backend, D> x, outputs<Backend, V> y) const {
    auto const h = temporary<D>(be, x.size);
    layer_norm(be, data_->p.ln_out, x, h);
    linear(be, data_->p.head, h, y);
}

template <config C, class Backend, class Cache, class Stack>
std::vector<weight_tensor> model<C, Backend, Cache, Stack>::weights() const {
    return data_->weights();
}

template <config C, class Backend, class Cache, class Stack>
std::uint64_t model<C, Backend, Cache, Stack>::fingerprint() const {
    auto const [shape, types, weights] = fingerprints();
    return detail::scramble(detail::scramble(detail::scramble(shape) ^ types) ^ weights);
}

}  // namespace goldfinch
