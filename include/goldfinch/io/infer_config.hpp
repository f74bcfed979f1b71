// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/metadata.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch {

/// What a checkpoint says about its model.
struct inferred {
    config cfg;              ///< defaults filled in; fields the file cannot tell have their default
    std::string_view stack;  ///< "goldfinch", "finch_c2", "finch", "eagle", "gptalpha", "llama", "goldfinch_gptalpha", "goldfinch_on_finch"; "" for another
    std::vector<std::string_view> blocks;   ///< the time mix of each block, from its tensors' names: "finch_c2", "gold", ...; "" where none is known
    std::vector<std::string_view> told;     ///< config fields the file tells
    std::vector<std::string_view> unknown;  ///< config fields this model uses and the file cannot tell
    std::uint64_t n_parameters = 0;         ///< elements of all tensors
    bool from_metadata = false;             ///< the config is the one that the file carries, not concluded from shapes
};

namespace io {

inline bool contains(std::vector<std::string_view> const& list, std::string_view text) {
    for (std::string_view const entry : list)
        if (entry == text) return true;
    return false;
}

/// The time mix of block `l`, the first one here whose tensors it has; "" where it is none of ours. Source: the names in the authors' released checkpoints.
inline std::string_view time_mix_name(checkpoint const& file, std::size_t l) {
    auto const has = [&](std::string_view name) { return file.find(message({"blocks.", l, ".att.", name})) != nullptr; };
    if (has("time_maa_q_w1") && has("time_maa_kv_w1")) return "gold";
    if (has("time_value2_w1") || has("time_maa_v2")) return "finch_c2";
    if (has("gate.weight") && has("time_maa_w1")) return "finch";
    if (has("gate.weight") && has("time_maa_g")) return "eagle";
    if (has("ln_r.weight") && has("time_maa_w1")) return "gptalpha";
    if (has("wq.weight")) return "llama";
    return "";
}

/// The named stack of blocks that are `lower` up to some block and `upper` from there on; "" where there is none.
inline std::string_view stack_name(std::string_view lower, std::string_view upper) {
    if (lower == "finch_c2" && upper == "gold") return "goldfinch";
    if (lower == "finch" && upper == "gold") return "goldfinch_on_finch";
    if (lower == "finch_c2" && upper == "gptalpha") return "goldfinch_gptalpha";
    if (lower == "gold" && upper == "gold") return "goldfinch";  // with n_gold = n_layer
    return lower == upper ? lower : "";
}

/// The number of blocks that tensor names speak of. Throws load_error unless they are numbered 0, 1, 2, ...
template <class OnDemand = void>
std::size_t count_blocks(checkpoint const& file) {
    constexpr std::string_view prefix = "blocks.";
    std::vector<char> present;
    for (stored_tensor const& t : file.tensors) {
        if (!t.name.starts_with(prefix)) continue;
        std::size_t index = 0;
        char const* const end = t.name.data() + t.name.size();
        auto const [rest, error] = std::from_chars(t.name.data() + prefix.size(), end, index);
        if (error != std::errc{} || rest == end || *rest != '.' || index >= file.tensors.size())
            fail(file.path, {"tensor ", in_quotes(t.name), " names no sensible block"});
        if (index >= present.size()) present.resize(index + 1);
        present[index] = 1;
    }
    auto const gap = std::find(present.begin(), present.end(), 0);
    if (gap != present.end()) {
        fail(file.path, {"has tensors of block ", present.size() - 1, ", but none of block ", gap - present.begin()});
    }
    return present.size();
}

/// Concludes the config from names and shapes.
template <class OnDemand = void>
class shape_reader {
public:
    shape_reader(checkpoint const& file, inferred& result) : file_(file), result_(result) {}

    void read() {
        config& c = result_.cfg;
        auto const& emb = require_matrix("emb.weight");
        tell("vocab_size", c.vocab_size, emb[0]);
        tell("n_embd", c.n_embd, emb[1]);
        if (result_.blocks.empty()) not_ours({"it has no blocks (tensors named 'blocks.0. ...')"});
        bool known = false;
        for (std::string_view const b : result_.blocks) known = known || !b.empty();
        if (!known) not_ours({"the time mix of its blocks is none that is known here"});
        tell("n_layer", c.n_layer, result_.blocks.size());
        if (auto const* key = matrix("blocks.0.ffn.key.weight")) tell("dim_ffn", c.dim_ffn, key->shape[0]);
        for (std::string_view const name : {"blocks.0.att.output.weight", "blocks.0.att.wo.weight"})
            if (auto const* output = matrix(name)) tell("dim_att", c.dim_att, output->shape[1]);
        if (auto const* down = matrix("w_kv_cache_a.weight"); down && down->shape[0] != 0 && emb[1] % down->shape[0] == 0) {
            tell("kv_cache_compression_ratio", c.kv_cache_compression_ratio, emb[1] / down->shape[0]);
        }
        auto upper = result_.blocks.begin();
        while (upper != result_.blocks.end() && *upper == result_.blocks.front()) ++upper;
        if (upper == result_.blocks.end() && result_.blocks.front() == "gold") upper = result_.blocks.begin();
        if (upper != result_.blocks.end()) tell("n_gold", c.n_gold, static_cast<std::uint64_t>(result_.blocks.end() - upper));
        read_head_size();
        list_unknown();
        try {
            c = check(c);
        } catch (config_error const& e) {
            not_ours({e.what()});
        }
    }

private:
    bool has_block(std::string_view name) const { return contains(result_.blocks, name); }
    bool has_attention() const { return has_block("gold") || has_block("gptalpha") || has_block("llama"); }

    [[noreturn]] GOLDFINCH_COLD void not_ours(pieces why) const { fail(file_.path, {"is no model of this family: ", message(why)}); }

    stored_tensor const* matrix(std::string_view name) const {
        stored_tensor const* const t = file_.find(name);
        return t && t->shape.size() == 2 ? t : nullptr;
    }

    std::vector<std::uint64_t> const& require_matrix(std::string_view name) const {
        if (auto const* t = matrix(name)) return t->shape;
        auto const* other = file_.find(name);
        if (!other) not_ours({"it has no tensor ", name});
        not_ours({name, " has shape ", shape_text(other->shape), ", expected two dimensions", at_byte(other->offset)});
    }

    void tell(char const* field, int& member, std::uint64_t value) {
        if (value == 0 || value > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) not_ours({field, " would be ", value});
        member = static_cast<int>(value);
        result_.told.push_back(field);
    }

    /// time_faaaa is [n_embd / head_size, head_size]; blocks of attention have nothing like it.
    void read_head_size() {
        for (std::size_t l = 0; l < result_.blocks.size(); ++l)
            if (auto const* bonus = matrix(message({"blocks.", l, ".att.time_faaaa"})))
                return tell("head_size", result_.cfg.head_size, bonus->shape[1]);
        result_.cfg.head_size = std::gcd(result_.cfg.n_embd, config{}.head_size);
        result_.unknown.push_back("head_size");
    }

    void list_unknown() {
        if (has_attention()) result_.unknown.push_back("rope_base"), result_.unknown.push_back("rope_rescale");
        if (result_.stack == "llama" && result_.cfg.head_size % 2 == 0) result_.cfg.rope_base = 10000;  // the paper's Llama always has it
        if (has_block("finch") || has_block("eagle")) result_.unknown.push_back("head_size_divisor");
        if (has_block("finch_c2")) result_.unknown.push_back("use_one_minus_w"), result_.unknown.push_back("use_v2");
    }

    checkpoint const& file_;
    inferred& result_;
};

}  // namespace io

/// The config of a checkpoint: the one that its metadata holds, if that is whole (a model saved by this library), else what names
/// and shapes of its tensors tell. Throws load_error with a sentence where it is no model of this family.
template <class OnDemand = void>
inferred infer_config(checkpoint const& file) {
    inferred result;
    for (stored_tensor const& t : file.tensors) result.n_parameters += io::byte_count(t.shape, 1).value_or(0);
    result.blocks.resize(io::count_blocks(file));
    for (std::size_t l = 0; l < result.blocks.size(); ++l) result.blocks[l] = io::time_mix_name(file, l);

    auto const& blocks = result.blocks;
    if (!blocks.empty()) {
        // Where the kind of block changes once at most, all below the change are of one kind and all above it of another.
        std::size_t changes = 0;
        for (std::size_t l = 1; l < blocks.size(); ++l) changes += blocks[l] != blocks[l - 1] ? 1u : 0u;
        if (changes <= 1) result.stack = io::stack_name(blocks.front(), blocks.back());
    }
    if (auto const carried = config_from_metadata(file.metadata, file.path)) {
        result.cfg = *carried;
        result.from_metadata = true;
        for (io::config_field const& field : io::config_fields) result.told.push_back(field.name);
    } else {
        io::shape_reader(file, result).read();
    }
    return result;
}

}  // namespace goldfinch
