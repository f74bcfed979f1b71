// SPDX-License-Identifier: Apache-2.0
#pragma once

// The weight formats that are no plain numbers: a header each, and nothing else names them. Each takes a number of its own
// among the kernels (detail::weight_type_at), the next that is free: without gaps, and after 0 to 2, which are float, half and bf16.

#include <goldfinch/weight/int4.hpp>
#include <goldfinch/weight/int8.hpp>
