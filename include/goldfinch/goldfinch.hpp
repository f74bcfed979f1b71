// SPDX-License-Identifier: Apache-2.0
#pragma once

// Everything: include this.

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "goldfinch needs C++20: compile with -std=c++20"
#endif

#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/counting.hpp>
#include <goldfinch/backend/reference.hpp>
#include <goldfinch/backend/simd.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/inspect.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/session.hpp>
#include <goldfinch/stack.hpp>
#include <goldfinch/text/byte_tokenizer.hpp>
#include <goldfinch/text/draft.hpp>
#include <goldfinch/text/generate.hpp>
#include <goldfinch/text/sampler.hpp>
#include <goldfinch/text/world_tokenizer.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/formats.hpp>
