// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "emulation/block.hpp"
#include "emulation/buffer.hpp"
#include "emulation/compare.hpp"
#include "emulation/device.hpp"
#include "emulation/intrinsics.hpp"
#include "emulation/launch.hpp"
#include "emulation/order.hpp"
#include "emulation/runtime.hpp"
#include "emulation/streams.hpp"
#include "emulation/tensor.hpp"
#include "emulation/types.hpp"
#include "emulation/work.hpp"

// CUDA thread blocks on the CPU, for tests of kernels on machines without a GPU. Kernels are compiled as C++20 against this header instead of nvcc's
// own; each thread is a fiber. In several orders, and under AddressSanitizer, it finds most of what compute-sanitizer would:
//
//   out-of-bounds accesses              by AddressSanitizer: shared and device memory are of exactly the bytes asked for
//   shared memory that nobody wrote     is NaN, and has other bytes in some of emulation::orders
//   races                               give other results in some of emulation::orders
//   barriers that not all threads reach, lanes that miss a warp operation, copies that are never waited for: thrown from the launch as
//   emulation::fault
