// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block.hpp"
#include "device.hpp"
#include "intrinsics.hpp"
#include "launch.hpp"
#include "order.hpp"
#include "runtime.hpp"
#include "streams.hpp"
#include "tensor.hpp"
#include "types.hpp"

// CUDA thread blocks on the CPU, for tests of kernels on machines without a GPU. Kernels are compiled as C++20 against this header instead of nvcc's
// own; each thread is a fiber. In several orders, and under AddressSanitizer, it finds most of what compute-sanitizer would:
//
//   out-of-bounds accesses              by AddressSanitizer: shared and device memory are of exactly the bytes asked for
//   shared memory that nobody wrote     is NaN, and has other bytes in some of emulation::orders
//   races                               give other results in some of emulation::orders
//   barriers that not all threads reach, lanes that miss a warp operation, copies that are never waited for: thrown from the launch as
//   emulation::fault
