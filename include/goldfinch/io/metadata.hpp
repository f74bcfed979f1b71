// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch {

namespace io {

/// A config field by its official name: a number or a flag.
struct config_field {
    std::string_view name;
    int config::*number;
    bool config::*flag;
};

inline constexpr config_field config_fields[] = {
    {"vocab_size", &config::vocab_size, nullptr},
    {"n_layer", &config::n_layer, nullptr},
    {"n_gold", &config::n_gold, nullptr},
    {"n_embd", &config::n_embd, nullptr},
    {"head_size", &config::head_size, nullptr},
    {"dim_att", &config::dim_att, nullptr},
    {"dim_ffn", &config::dim_ffn, nullptr},
    {"kv_cache_compression_ratio", &config::kv_cache_compression_ratio, nullptr},
    {"rope_base", &config::rope_base, nullptr},
    {"rope_rescale", &config::rope_rescale, nullptr},
    {"head_size_divisor", &config::head_size_divisor, nullptr},
    {"use_one_minus_w", nullptr, &config::use_one_minus_w},
    {"use_v2", nullptr, &config::use_v2},
};

constexpr int field_value(config const& c, config_field const& field) { return field.number ? c.*field.number : static_cast<int>(c.*field.flag); }

/// The field's value in decimal, or "true" or "false".
inline std::string field_text(config const& c, config_field const& field) {
    return field.number ? message({c.*field.number}) : c.*field.flag ? "true" : "false";
}

}  // namespace io

/// Every config field by its official name, defaults filled in: what a saved model carries in its metadata.
template <class OnDemand = void>
std::map<std::string, std::string> to_metadata(config const& c) {
    std::map<std::string, std::string> result;
    for (io::config_field const& field : io::config_fields) result.emplace(field.name, io::field_text(with_defaults(c), field));
    return result;
}

namespace io {

/// The config that metadata holds, unchecked; nothing unless every field is there and a number or flag as to_metadata writes it.
/// Other programs have keys of the same names and mean other things by them, so a part of a config is none.
template <class OnDemand = void>
std::optional<config> whole_config(std::map<std::string, std::string> const& metadata) {
    config result;
    for (config_field const& field : config_fields) {
        auto const entry = metadata.find(std::string(field.name));
        if (entry == metadata.end()) return std::nullopt;
        std::string const& text = entry->second;
        if (field.flag) {
            if (text != "true" && text != "false") return std::nullopt;
            result.*field.flag = text == "true";
        } else {
            char const* const last = text.data() + text.size();
            auto const [end, error] = std::from_chars(text.data(), last, result.*field.number);
            if (error != std::errc{} || end != last || result.*field.number < 0) return std::nullopt;
        }
    }
    return result;
}

/// The stack that metadata names, beside a whole config; nullptr where it does not, or where there is no such config.
template <class OnDemand = void>
std::string const* stack_from_metadata(checkpoint const& file) {
    auto const entry = file.metadata.find("stack");
    return entry != file.metadata.end() && whole_config(file.metadata) ? &entry->second : nullptr;
}

}  // namespace io

/// The config that metadata holds, defaults filled in; nothing where it holds only a part of one, or what is not written as
/// to_metadata does. Throws load_error for a whole config that makes no sense.
template <class OnDemand = void>
std::optional<config> config_from_metadata(std::map<std::string, std::string> const& metadata, std::filesystem::path const& path) {
    std::optional<config> const whole = io::whole_config(metadata);
    if (!whole) return std::nullopt;
    try {
        return check(*whole);
    } catch (config_error const& e) {
        io::fail(path, {"metadata: ", e.what()});
    }
}

}  // namespace goldfinch
