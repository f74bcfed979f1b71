// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/io/checkpoint.hpp>
#include <goldfinch/io/describe.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/io/session_file.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/random.hpp>
#include <goldfinch/stack.hpp>

namespace goldfinch {

/// How to load a model.
struct load_options {
    std::size_t threads = 0;                                                    ///< of the model, at most 256 (else config_error); 0: all cores
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};  ///< called with bytes of weights taken so far
};

namespace detail {

template <class Weight>
inline constexpr dtype dtype_of = std::is_same_v<Weight, double>  ? dtype::f64
                                  : std::is_same_v<Weight, float> ? dtype::f32
                                  : std::is_same_v<Weight, half>  ? dtype::f16
                                                                  : dtype::bf16;

/// All weights of a model, as views.
template <config C, class Backend, class Stack>
struct parameters {
    using T = typename Backend::weight const;
    static constexpr std::size_t V = C.vocab_size, D = C.n_embd;
    matrix<T, V, D> emb;
    norm_weights<T, D> ln0;
    typename Stack::template weights<Backend> blocks;
    norm_weights<T, D> ln_out;
    matrix<T, V, D> head;

    static constexpr void list(auto& self, auto const& f) {
        f("emb.weight", self.emb);
        f("blocks.0.ln0", self.ln0);
        f("", self.blocks);
        f("ln_out", self.ln_out);
        f("head.weight", self.head);
    }
};

/// The model's side of a key cache: what keys and values are made from.
template <config C, class Backend, class Stack>
struct key_source {
    using S = typename Backend::scalar;
    static constexpr std::size_t vocab_size = C.vocab_size, width = C.n_embd, key_width = Stack::key_width, n_gold = Stack::n_gold;

    parameters<C, Backend, Stack> const& p;
    S const* zero_row;

    /// e_t = LN(emb[token_t]; ln0)
    void embed(Backend const& be, std::span<token const> tokens, outputs<Backend, width> e) const {
        goldfinch::embed(be, p.emb, tokens, e);
        layer_norm(be, p.ln0.weight, p.ln0.bias, e, e);
    }
    /// k_t from e_t and c_t
    void expand(Backend const& be, inputs<Backend, width> e, inputs<Backend, key_width> c, outputs<Backend, width> k) const {
        Stack::cat::expand(be, Stack::token_cat_weights(p.blocks), e, c, k);
    }
    /// K and V of the block-th GOLD block, for positions from `position` on
    void key_value(Backend const& be, std::size_t block, std::size_t position, input_row<Backend, width> o_prev, inputs<Backend, width> o,
                   input_row<Backend, width> k_prev, inputs<Backend, width> k, outputs<Backend, width> K, outputs<Backend, width> V) const {
        Stack::with_upper(p.blocks, block,
                          [&](auto mixer, auto const& weights) { decltype(mixer)::key_value(be, weights, position, o_prev, o, k_prev, k, K, V); });
    }
    /// What stands before the first token.
    input_row<Backend, width> zeros() const { return {zero_row}; }
};

/// The cache of a stack without token_cat.
struct no_keys {
    static constexpr std::size_t row_bytes = 0, fixed_bytes = 0;
    static std::size_t bytes() { return 0; }
    static void reserve(std::size_t) {}
    static void resize(std::size_t) {}
    static bool valid() { return true; }
    static void transfer(auto&, auto&) {}
};

template <class Cache, class Backend, class Source, bool has_keys>
struct cache_store {
    static auto make() {
        if constexpr (has_keys)
            return std::type_identity<typename Cache::template store<Backend, Source>>{};
        else
            return std::type_identity<no_keys>{};
    }
    using type = typename decltype(make())::type;
};

template <class Stack>
concept is_stack = has_width<Stack> && requires {
    Stack::n_blocks;
    Stack::has_keys;
};

constexpr std::uint64_t hash(std::string_view text, std::uint64_t seed = 0) {
    for (char const c : text) seed = mix(seed ^ static_cast<unsigned char>(c));
    return seed;
}

/// Range [low, high) of a random model's values, by the parameter's name: sums keep unit variance, mixing weights lie in
/// [0, 1], decays span fast to slow channels.
inline std::pair<double, double> random_range(std::string_view name, std::span<std::size_t const> shape) {
    auto const has = [&](std::string_view part) { return name.find(part) != name.npos; };
    auto const around = [](double middle, double deviation) {
        return std::pair(middle - std::sqrt(3.0) * deviation, middle + std::sqrt(3.0) * deviation);
    };
    if (name.ends_with("time_decay")) return {-6, -1};
    if (has("time_faaaa")) return {-0.5, 0.5};
    if (shape.size() > 1 && (name.ends_with("_w1") || name.ends_with("_w2")))
        return around(0, 0.3 / std::sqrt(static_cast<double>(shape[shape.size() - 2])));  // [in, out]
    if (has("time_")) return {0, 1};
    if (shape.size() == 1) return around(name.ends_with("weight") ? 1 : 0, 0.1);
    return around(0, 1 / std::sqrt(static_cast<double>(shape.back())));  // [out, in]
}

/// Stored elements of type From as weights.
template <class From, class Weight>
void convert(std::span<std::byte const> bytes, std::span<Weight> values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        From from;
        std::memcpy(&from, bytes.data() + i * sizeof(From), sizeof(From));
        if constexpr (std::is_same_v<From, Weight>)
            values[i] = from;
        else if constexpr (std::is_same_v<From, double>)
            values[i] = static_cast<Weight>(from);
        else
            values[i] = static_cast<Weight>(static_cast<float>(from));
    }
}

/// The weights of a model and what goes with them, whatever cache the model is for.
template <config C, class Backend, class Stack>
class model_data {
    using weight = typename Backend::weight;
    using scalar = typename Backend::scalar;

public:
    static constexpr std::size_t n_parameters = count_elements(parameters<C, Backend, Stack>{});

    parameters<C, Backend, Stack> p;
    typename Backend::runtime runtime;

    explicit model_data(std::size_t threads) : runtime(threads) {}
    model_data(model_data const&) = delete;
    model_data& operator=(model_data const&) = delete;

    key_source<C, Backend, Stack> keys() const { return {p, zeros_.data()}; }

    void load(std::filesystem::path const& path, load_options const& options) {
        checkpoint const file = read_checkpoint(path);
        auto const tensors = list_parameters<weight const>(p);
        std::vector<expected_tensor> expected;
        for (auto const& t : tensors) expected.push_back({t.name, {t.shape.begin(), t.shape.end()}});
        require_tensors(file, expected, C);
        if (std::string const* const stack = io::stack_from_metadata(file); stack && *stack != description())
            io::fail(path, {"stack: this model's type has ", description(), ", the file ", escaped(*stack)});

        file_ = file.storage;
        std::size_t to_own = 0;
        for (auto const& t : tensors)
            if (!usable_in_place(*file.find(t.name))) to_own += padded(t.size);
        owned_.resize(to_own);
        weight* next = owned_.data();
        std::size_t done = 0;
        for (auto const& t : tensors) {
            stored_tensor const& stored = *file.find(t.name);
            if (usable_in_place(stored)) {
                *t.data = reinterpret_cast<weight const*>(stored.bytes.data());
            } else {
                read(stored, {next, t.size});
                *t.data = next;
                next += padded(t.size);
            }
            done += t.size;
            if (options.on_progress) options.on_progress(done * sizeof(weight), n_parameters * sizeof(weight));
        }
    }

    void randomise(std::uint64_t seed) {
        auto const tensors = list_parameters<weight const>(p);
        std::size_t to_own = 0;
        for (auto const& t : tensors) to_own += padded(t.size);
        owned_.resize(to_own);
        weight* next = owned_.data();
        for (auto const& t : tensors) {
            auto const [low, high] = random_range(t.name, t.shape);
            std::uint64_t const key = hash(t.name, mix(seed));
            for (std::size_t i = 0; i < t.size; ++i) next[i] = static_cast<weight>(low + (high - low) * unit_interval(mix(key + i)));
            *t.data = next;
            next += padded(t.size);
        }
    }

    void save(std::filesystem::path const& path) const {
        auto metadata = to_metadata(C);
        metadata["stack"] = description();
        std::vector<output_tensor> tensors;
        auto views = p;
        for (auto const& t : list_parameters<weight const>(views))
            tensors.push_back({t.name, dtype_of<weight>, {t.shape.begin(), t.shape.end()}, std::as_bytes(std::span(*t.data, t.size))});
        write_safetensors(path, metadata, tensors);
    }

    model_fingerprint fingerprint() const {
        std::string text = description();
        for (auto const& [key, value] : to_metadata(C)) append(text, {"|", key, "=", value});
        std::uint64_t h = 0;
        auto views = p;
        for (auto const& t : list_parameters<weight const>(views)) {
            h = hash(t.name, h);
            std::size_t const step = std::max<std::size_t>(1, t.size / 61);
            for (std::size_t i = 0; i < t.size; i += step) h = mix(h ^ std::bit_cast<std::uint64_t>(static_cast<double>((*t.data)[i])));
        }
        return {hash(text), static_cast<std::uint64_t>(dtype_of<weight>) + 256 * sizeof(scalar), h};
    }

private:
    /// Elements a tensor of n takes in `owned_`, where each starts on a cache line.
    static constexpr std::size_t padded(std::size_t n) {
        constexpr std::size_t line = alignment / sizeof(weight);
        return (n + line - 1) / line * line;
    }

    /// The stack in words, whole: what tells models of the same config apart.
    static std::string description() { return Stack::description(with_defaults(C)); }

    static bool usable_in_place(stored_tensor const& stored) {
        return stored.type == dtype_of<weight> && reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % alignof(weight) == 0;
    }

    /// The elements of a stored tensor as weights.
    static void read(stored_tensor const& stored, std::span<weight> values) {
        switch (stored.type) {
            case dtype::f64: convert<double>(stored.bytes, values); break;
            case dtype::f32: convert<float>(stored.bytes, values); break;
            case dtype::f16: convert<half>(stored.bytes, values); break;
            default: convert<bf16>(stored.bytes, values); break;
        }
    }

    typename Backend::template buffer<weight> owned_;  // tensors that were converted or made here
    std::shared_ptr<void const> file_;                 // the mapping behind all others
    typename Backend::template buffer<scalar> zeros_ = typename Backend::template buffer<scalar>(static_cast<std::size_t>(C.n_embd));
};

}  // namespace detail

template <class Model>
class session;

/// A GoldFinch model: its sizes, where it computes, what it caches and what it is made of are its type. An object is a handle:
/// copies share the weights and the threads, and sessions keep both alive. Everything but `threads(n)` is const and may be called
/// from several threads at once.
template <config C, class Backend = simd<bf16>, class Cache = compressed_keys<>, class Stack = goldfinch_stack<C>>
class model : valid_config<C> {
    static_assert(Stack::width == valid_config<C>::cfg.n_embd, "goldfinch: the parts of the stack must be n_embd wide");
    static_assert(Stack::n_blocks == valid_config<C>::cfg.n_layer, "goldfinch: the stack must have n_layer blocks");
    static_assert(Stack::template checked<Backend>);  // where it is not, a sentence has said why

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
    /// lie in the mapped file, others are converted. Throws load_error: it lists all that is missing, unexpected or mis-shaped.
    static model load(std::filesystem::path const& path, load_options const& options = {});

    /// A model with well-scaled random weights, the same for the same seed: for benchmarks and tests. Of the options it takes
    /// the number of threads.
    static model random(std::uint64_t seed, load_options const& options = {});

    /// Writes a safetensors file in the backend's weight type, with the config in its metadata. The file appears when it is
    /// complete, so saving over the one that is mapped is safe. Throws load_error.
    void save(std::filesystem::path const& path) const;

    /// Sets the number of threads of all copies; 0: all cores. Results do not depend on it. Throws config_error for more than 256.
    void threads(std::size_t n);

    /// The number of threads: fewer than were asked for where the system has no more.
    std::size_t threads() const;

    /// A number that tells models apart: config, stack, cache, types, and samples of every tensor.
    std::uint64_t fingerprint() const;

private:
    detail::model_fingerprint fingerprints() const {
        using value = typename Cache::value;
        detail::model_fingerprint result = data_->fingerprint();
        result.types = detail::hash(Cache::name, detail::mix(result.types + sizeof(value) + (std::is_integral_v<value> ? 64 : 0)));
        return result;
    }

    template <class Model>
    friend class session;

    explicit model(std::size_t threads) : data_(std::make_shared<data>(threads)) {}

    std::shared_ptr<data> data_;
};

/// What a model cannot be made of, told and nothing more (as in block.hpp).
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
    model lm(options.threads);
    lm.data_->load(path, options);
    return lm;
}

template <config C, class Backend, class Cache, class Stack>
auto model<C, Backend, Cache, Stack>::random(std::uint64_t seed, load_options const& options) -> model {
    model lm(options.threads);
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
std::uint64_t model<C, Backend, Cache, Stack>::fingerprint() const {
    auto const [shape, types, weights] = fingerprints();
    return detail::mix(detail::mix(detail::mix(shape) ^ types) ^ weights);
}

}  // namespace goldfinch
