// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch {

/// A token id: an index into the vocabulary.
using token = std::uint32_t;

/// The sizes of a model, as the official code names them. A model's type is a function of it, so it is a template argument;
/// 0 means "the official default". The default values are the released 1.5 B model.
struct config {
    int vocab_size = 65536;
    int n_layer = 24;   ///< blocks in all
    int n_gold = 0;     ///< GOLD blocks among them, on top; 0: n_layer - n_layer * 2 / 3
    int n_embd = 2048;  ///< model width, a multiple of 32
    int head_size = 64;
    int dim_att = 0;                      ///< attention width; 0: n_embd, and it must be n_embd (official layers assume it)
    int dim_ffn = 0;                      ///< hidden width of the channel mix; 0: n_embd * 7 / 2 / 32 * 32
    int kv_cache_compression_ratio = 16;  ///< the compressed key of a token has n_embd / ratio values
    int rope_base = 0;                    ///< base of the rotary embedding's angles; 0: no rotary embedding
    int rope_rescale = 1;                 ///< positions are divided by it
    int head_size_divisor = 8;            ///< plain Finch only: its group norm has eps 1e-5 * head_size_divisor^2
    bool use_one_minus_w = true;          ///< Finch-C2: keys are scaled by one minus the decay
    bool use_v2 = true;                   ///< Finch-C2: a second value takes the place of the bonus term

    friend constexpr bool operator==(config const&, config const&) = default;
};

/// The config with official defaults in place of zeros. Checks nothing.
constexpr config with_defaults(config c) {
    // Wide enough for any n_layer and n_embd, since `check` comes after it.
    if (c.n_gold == 0) c.n_gold = static_cast<int>(c.n_layer - c.n_layer * 2LL / 3);
    if (c.dim_att == 0) c.dim_att = c.n_embd;
    if (c.dim_ffn == 0) c.dim_ffn = static_cast<int>(c.n_embd * 7LL / 2 / 32 * 32);
    return c;
}

namespace detail {

/// Throws config_error, with the sentence and what was found, unless a rule holds.
constexpr void require(bool holds, char const* sentence, int found) {
    if (!holds) throw config_error(message({"goldfinch: ", sentence, ", found ", found}));
}

}  // namespace detail

/// Fills in defaults and refuses nonsense: throws config_error with a sentence. Widths are bounded so that sizes never overflow.
constexpr config check(config raw) {
    constexpr int most = 1 << 20;
    config const c = with_defaults(raw);
    detail::require(c.vocab_size >= 1 && c.vocab_size <= most * 16, "vocab_size must be between 1 and 16777216", c.vocab_size);
    detail::require(c.n_layer >= 1 && c.n_layer <= most, "n_layer must be between 1 and 1048576", c.n_layer);
    detail::require(c.n_gold >= 0 && c.n_gold <= c.n_layer, "n_gold must be between 0 and n_layer", c.n_gold);
    detail::require(c.n_embd >= 32 && c.n_embd <= most && c.n_embd % 32 == 0, "n_embd must be a multiple of 32, at most 1048576", c.n_embd);
    detail::require(c.head_size >= 1 && c.n_embd % c.head_size == 0, "n_embd must be a multiple of head_size", c.head_size);
    detail::require(c.dim_att == c.n_embd, "dim_att must equal n_embd", c.dim_att);
    detail::require(c.dim_ffn >= 1 && c.dim_ffn <= most * 16, "dim_ffn must be between 1 and 16777216", c.dim_ffn);
    detail::require(c.kv_cache_compression_ratio >= 1 && c.n_embd % c.kv_cache_compression_ratio == 0,
                    "n_embd must be a multiple of kv_cache_compression_ratio", c.kv_cache_compression_ratio);
    detail::require(c.rope_base == 0 || c.rope_base >= 2, "rope_base must be 0 (no rotary embedding) or at least 2", c.rope_base);
    detail::require(c.rope_base == 0 || c.head_size % 2 == 0, "a rotary embedding needs an even head_size", c.head_size);
    detail::require(c.rope_rescale >= 1, "rope_rescale must be positive", c.rope_rescale);
    detail::require(c.head_size_divisor >= 1, "head_size_divisor must be positive", c.head_size_divisor);
    return c;
}

/// As check, at compile time: the compiler's message points at the caller's line and shows the sentence.
consteval config checked(config c) { return check(c); }

/// The rules again as static assertions, and the config with defaults filled in as `cfg`. Templates over a config derive
/// from it, so that a wrong number is reported first and by name.
template <config C>
struct valid_config {
    static constexpr config cfg = with_defaults(C);
    static_assert(cfg.vocab_size >= 1 && cfg.vocab_size <= 1 << 24, "goldfinch: vocab_size must be between 1 and 16777216");
    static_assert(cfg.n_layer >= 1 && cfg.n_layer <= 1 << 20, "goldfinch: n_layer must be between 1 and 1048576");
    static_assert(cfg.n_gold >= 0 && cfg.n_gold <= cfg.n_layer, "goldfinch: n_gold must be between 0 and n_layer");
    static_assert(cfg.n_embd >= 32 && cfg.n_embd <= 1 << 20 && cfg.n_embd % 32 == 0, "goldfinch: n_embd must be a multiple of 32, at most 1048576");
    static_assert(cfg.head_size >= 1 && cfg.n_embd % cfg.head_size == 0, "goldfinch: n_embd must be a multiple of head_size");
    static_assert(cfg.dim_att == cfg.n_embd, "goldfinch: dim_att must equal n_embd");
    static_assert(cfg.dim_ffn >= 1 && cfg.dim_ffn <= 1 << 24, "goldfinch: dim_ffn must be between 1 and 16777216");
    static_assert(cfg.kv_cache_compression_ratio >= 1 && cfg.n_embd % cfg.kv_cache_compression_ratio == 0,
                  "goldfinch: n_embd must be a multiple of kv_cache_compression_ratio");
    static_assert(cfg.rope_base == 0 || cfg.rope_base >= 2, "goldfinch: rope_base must be 0 (no rotary embedding) or at least 2");
    static_assert(cfg.rope_base == 0 || cfg.head_size % 2 == 0, "goldfinch: a rotary embedding needs an even head_size");
    static_assert(cfg.rope_rescale >= 1, "goldfinch: rope_rescale must be positive");
    static_assert(cfg.head_size_divisor >= 1, "goldfinch: head_size_divisor must be positive");
};

/// The shapes the authors released (recursal/GoldFinch-paper on Hugging Face).
namespace presets {

inline constexpr config goldfinch_1b5 = checked({.n_layer = 24, .n_embd = 2048});
inline constexpr config goldfinch_1b5_uncompressed = checked({.n_layer = 24, .n_embd = 2048, .kv_cache_compression_ratio = 1});
inline constexpr config goldfinch_0b1 = checked({.n_layer = 12, .n_embd = 768});
inline constexpr config goldfinch_0b1_ratio2 = checked({.n_layer = 12, .n_gold = 6, .n_embd = 768});
inline constexpr config goldfinch_0b1_ratio6 = checked({.n_layer = 12, .n_gold = 2, .n_embd = 768});
inline constexpr config goldfinch_0b1_rope = checked({.n_layer = 12, .n_embd = 768, .rope_base = 10000});

}  // namespace presets

}  // namespace goldfinch
