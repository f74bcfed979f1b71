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
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/concepts.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/io/checkpoint.hpp>
#include <goldfinch/io/describe.hpp>
#include <goldfinch/layer/parameter.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/stack.hpp>

namespace goldfinch {

/// How to load a model.
struct load_options {
    std::size_t threads = 0;                                                    ///< of the model's pool; 0: all cores
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};  ///< called with bytes of weights taken so far
};

namespace detail {

template <class Weight>
inline constexpr dtype dtype_of = std::is_same_v<Weight, double> ? dtype::f64
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
        Stack::with_upper(p.blocks, block, [&](auto mixer, auto const& weights) {
            decltype(mixer)::key_value(be, weights, position, o_prev, o, k_prev, k, K, V);
        });
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
        if constexpr (has_keys) return std::type_identity<typename Cache::template store<Backend, Source>>{};
        else return std::type_identity<no_keys>{};
    }
    using type = typename decltype(make())::type;
};

/// A number that changes with every input bit; for fingerprints and random weights.
constexpr std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
constexpr std::uint64_t hash(std::string_view text, std::uint64_t seed = 0) {
    for (char const c : text) seed = mix(seed ^ static_cast<unsigned char>(c));
    return seed;
}

/// Range [low, high) of a random model's values, by the parameter's name: sums keep unit variance, mixing weights lie in
/// [0, 1], decays span fast to slow channels.
template <class Tensor>
std::pair<double, double> random_range(std::string_view name) {
    auto const has = [&](std::string_view part) { return name.find(part) != name.npos; };
    auto const around = [](double middle, double deviation) { return std::pair(middle - std::sqrt(3.0) * deviation, middle + std::sqrt(3.0) * deviation); };
    if (has("time_decay") && Tensor::rank == 1) return {-6, -1};
    if (has("time_faaaa")) return {-0.5, 0.5};
    if constexpr (Tensor::rank == 1) {
        if (has("time_")) return {0, 1};
        return around(name.ends_with("weight") ? 1 : 0, 0.1);
    } else {
        bool const linear = name.ends_with(".weight");  // [out, in]; the others are [in, out]
        auto const fan_in = static_cast<double>(Tensor::extents[linear ? Tensor::rank - 1 : Tensor::rank - 2]);
        return around(0, (linear ? 1.0 : 0.3) / std::sqrt(fan_in));
    }
}

}  // namespace detail

template <class Model>
class session;

/// A GoldFinch model: its sizes, where it computes, what it caches and what it is made of are its type. An object is a handle:
/// copies share the weights and the threads, and sessions keep both alive. Everything but `threads` is const and may be called
/// from several threads at once.
template <config C, class Backend = simd<bf16>, class Cache = compressed_keys<>, class Stack = goldfinch_stack<C>>
class model : valid_config<C> {
public:
    static constexpr config cfg = valid_config<C>::cfg;  ///< the sizes, defaults filled in
    using backend_type = Backend;
    using cache_type = Cache;
    using stack_type = Stack;

private:
    static_assert(backend<Backend>, "goldfinch: the second argument of model is a backend: goldfinch::simd<Weight> or goldfinch::reference");
    static_assert(Stack::width == cfg.n_embd, "goldfinch: the parts of the stack must be n_embd wide");
    static_assert(Stack::n_blocks == cfg.n_layer, "goldfinch: the stack must have n_layer blocks");

    using weight = typename Backend::weight;
    using scalar = typename Backend::scalar;
    using parameters = detail::parameters<cfg, Backend, Stack>;
    using source = detail::key_source<cfg, Backend, Stack>;
    using cache = typename detail::cache_store<Cache, Backend, source, Stack::has_keys>::type;

public:
    /// Values in all tensors.
    static constexpr std::size_t n_parameters = detail::count_elements(parameters{});

    /// Reads a checkpoint, .safetensors or PyTorch's .pth, known by content. Weights of the backend's type are used where they
    /// lie in the mapped file, others are converted. Throws load_error: it lists all that is missing, unexpected or mis-shaped.
    static model load(std::filesystem::path const& path, load_options const& options = {}) {
        checkpoint const file = read_checkpoint(path);
        check_metadata(file);
        std::vector<expected_tensor> expected;
        parameters names;
        detail::walk(names, "", [&](std::string const& name, auto& t) {
            expected.push_back({name, detail::stored_shape<std::remove_reference_t<decltype(t)>>()});
        });
        require_tensors(file, expected, cfg);

        model lm(options.threads);
        lm.shared_->file = file.storage;
        std::size_t done = 0;
        detail::walk(lm.shared_->p, "", [&](std::string const& name, auto& t) {
            lm.take(*file.find(name), t);
            done += t.size;
            if (options.on_progress) options.on_progress(done * sizeof(weight), n_parameters * sizeof(weight));
        });
        return lm;
    }

    /// A model with well-scaled random weights, the same for the same seed: for benchmarks and tests.
    static model random(std::uint64_t seed, load_options const& options = {}) {
        model lm(options.threads);
        detail::walk(lm.shared_->p, "", [&](std::string const& name, auto& t) {
            auto const [low, high] = detail::random_range<std::remove_reference_t<decltype(t)>>(name);
            std::uint64_t const key = detail::hash(name, detail::mix(seed));
            auto& values = lm.own(t.size);
            for (std::size_t i = 0; i < t.size; ++i)
                values[i] = static_cast<weight>(low + (high - low) * static_cast<double>(detail::mix(key + i) >> 11) * 0x1p-53);
            t.data = values.data();
        });
        return lm;
    }

    /// Writes a safetensors file in the backend's weight type, with the config in its metadata. The file appears when it is
    /// complete, so saving over the one that is mapped is safe. Throws load_error.
    void save(std::filesystem::path const& path) const {
        auto metadata = to_metadata(cfg);
        metadata["stack"] = Stack::description();
        std::vector<output_tensor> tensors;
        detail::walk(shared_->p, "", [&](std::string const& name, auto& t) {
            tensors.push_back({name, detail::dtype_of<weight>, detail::stored_shape<std::remove_cvref_t<decltype(t)>>(), std::as_bytes(std::span(t.data, t.size))});
        });
        write_safetensors(path, metadata, tensors);
    }

    /// Sets the number of threads of all copies; 0: all cores. Results do not depend on it.
    void threads(std::size_t n) { shared_->runtime.threads(n); }

    /// A number that tells models apart: config, stack, cache, types, and samples of every tensor.
    std::uint64_t fingerprint() const {
        std::string text = Stack::description() + "|" + Cache::name;
        for (auto const& [key, value] : to_metadata(cfg)) text += "|" + key + "=" + value;
        std::uint64_t h = detail::hash(text, sizeof(typename Cache::value) + 256 * sizeof(scalar));
        h = detail::mix(h ^ static_cast<std::uint64_t>(detail::dtype_of<weight>) ^ (std::is_integral_v<typename Cache::value> ? 64 : 0));
        detail::walk(shared_->p, "", [&](std::string const& name, auto& t) {
            h = detail::hash(name, h);
            std::size_t const step = std::max<std::size_t>(1, t.size / 61);
            for (std::size_t i = 0; i < t.size; i += step) h = detail::mix(h ^ std::bit_cast<std::uint64_t>(static_cast<double>(t.data[i])));
        });
        return h;
    }

private:
    template <class Model>
    friend class session;

    struct shared {
        explicit shared(std::size_t threads) : runtime(threads) {}
        parameters p;
        std::vector<typename Backend::template buffer<weight>> owned;  // tensors that were converted or made here
        std::shared_ptr<void const> file;                              // the mapping behind all others
        typename Backend::template buffer<scalar> zeros = typename Backend::template buffer<scalar>(static_cast<std::size_t>(cfg.n_embd));
        typename Backend::runtime runtime;
    };

    explicit model(std::size_t threads) : shared_(std::make_shared<shared>(threads)) {}

    source keys() const { return {shared_->p, shared_->zeros.data()}; }

    auto& own(std::size_t n) { return shared_->owned.emplace_back(n); }

    template <class Tensor>
    void take(stored_tensor const& stored, Tensor& t) {
        auto const address = reinterpret_cast<std::uintptr_t>(stored.bytes.data());
        if (stored.type == detail::dtype_of<weight> && address % alignof(weight) == 0) {
            t.data = reinterpret_cast<weight const*>(stored.bytes.data());
            return;
        }
        auto& values = own(t.size);
        auto const convert = [&]<class From>(From) {
            for (std::size_t i = 0; i < t.size; ++i) {
                From from;
                std::memcpy(&from, stored.bytes.data() + i * sizeof(From), sizeof(From));
                if constexpr (std::is_same_v<From, weight>) values[i] = from;
                else if constexpr (std::is_same_v<From, double>) values[i] = static_cast<weight>(from);
                else values[i] = static_cast<weight>(static_cast<float>(from));
            }
        };
        switch (stored.type) {
            case dtype::f64: convert(double{}); break;
            case dtype::f32: convert(float{}); break;
            case dtype::f16: convert(half{}); break;
            default: convert(bf16{}); break;
        }
        t.data = values.data();
    }

    /// Where a file says what it holds, the type must be that.
    static void check_metadata(checkpoint const& file) {
        auto const stored = config_from_metadata(file.metadata, file.path);
        if (!stored) return;
        auto const ours = to_metadata(cfg), theirs = to_metadata(*stored);
        std::string differ;
        for (auto const& [key, value] : ours)
            if (auto const& other = theirs.at(key); other != value) differ += "\n  " + key + ": this model's type has " + value + ", the file " + other;
        if (auto const text = file.metadata.find("stack"); text != file.metadata.end() && text->second != Stack::description())
            differ += "\n  stack: this model's type has " + Stack::description() + ", the file " + text->second;
        if (!differ.empty()) throw load_error(file.path.string() + ": its metadata describes another model:" + differ);
    }

    std::shared_ptr<shared> shared_;
};

}  // namespace goldfinch
