// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/config.hpp>

namespace goldfinch {

/// What turns text into tokens and back: `encode(std::string_view) -> std::vector<token>` and
/// `decode(std::span<token const>) -> std::string` (bytes, which may be part of a UTF-8 character).
template <class T>
concept tokenizer = requires(T const& t, std::string_view text, std::span<token const> tokens) {
    { t.encode(text) } -> std::convertible_to<std::vector<token>>;
    { t.decode(tokens) } -> std::convertible_to<std::string>;
};

}  // namespace goldfinch
