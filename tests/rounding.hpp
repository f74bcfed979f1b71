// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

/// Whether products with bf16 weights round activations of many tokens to bf16 in an instruction set, on this processor.
inline bool rounds_to_bf16(std::string_view set) {
#if defined(__x86_64__)
    if (set == "avx512_bf16") return __builtin_cpu_is("amd") != 0;  // others multiply floats faster
#endif
    return set == "amx";
}
