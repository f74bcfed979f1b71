// SPDX-License-Identifier: Apache-2.0
#pragma once

// The SIMD backend: goldfinch::simd<Weight> and its operations, one family a file. reference.hpp defines what each computes.

#include <goldfinch/backend/simd/attention.hpp>
#include <goldfinch/backend/simd/elementwise.hpp>
#include <goldfinch/backend/simd/embed.hpp>
#include <goldfinch/backend/simd/linear.hpp>
#include <goldfinch/backend/simd/lora.hpp>
#include <goldfinch/backend/simd/norm.hpp>
#include <goldfinch/backend/simd/pack.hpp>
#include <goldfinch/backend/simd/rope.hpp>
#include <goldfinch/backend/simd/token_shift.hpp>
#include <goldfinch/backend/simd/wkv6.hpp>
