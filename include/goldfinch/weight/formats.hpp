// SPDX-License-Identifier: Apache-2.0
#pragma once

// The weight formats that are no plain numbers: a header each, and nothing else names them.

#include <goldfinch/weight/int4.hpp>
#include <goldfinch/weight/int8.hpp>
