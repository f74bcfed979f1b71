// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether AddressSanitizer watches.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATION_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define EMULATION_ASAN 1
#endif
#if !defined(EMULATION_ASAN)
#define EMULATION_ASAN 0
#endif
#if EMULATION_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
