// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace goldfinch {

/// Base of every exception this library throws. What is thrown is thrown before anything changes (strong guarantee).
struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A file that cannot be used: names the file and, where they apply, the tensor, what was expected, what was found and the
/// byte offset.
struct load_error : error {
    using error::error;
};

/// A configuration that makes no sense, or options out of their range.
struct config_error : error {
    using error::error;
};

/// A token id out of range, or logits no token can be drawn from.
struct token_error : error {
    using error::error;
};

/// A session asked for what it cannot give: logits before any token, or a session file that cannot be read or written, is
/// damaged or not its own.
struct session_error : error {
    using error::error;
};

}  // namespace goldfinch
