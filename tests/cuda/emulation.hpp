// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "emulation/block.hpp"
#include "emulation/buffer.hpp"
#include "emulation/compare.hpp"
#include "emulation/cublaslt.hpp"
#include "emulation/device.hpp"
#include "emulation/graphs.hpp"
#include "emulation/intrinsics.hpp"
#include "emulation/launch.hpp"
#include "emulation/order.hpp"
#include "emulation/runtime.hpp"
#include "emulation/streams.hpp"
#include "emulation/tensor.hpp"
#include "emulation/types.hpp"
#include "emulation/work.hpp"

// CUDA thread blocks on the CPU, for tests of kernels on machines without a GPU. Kernels are compiled as C++20 against this header instead of nvcc's
// own; each thread is a fiber, and one runs at a time. What is found, and how:
//
//   barriers that not all threads reach, lanes that miss a warp operation, copies not waited for    thrown as emulation::fault, by the launch
//   out-of-bounds accesses            by AddressSanitizer: shared and device memory are of exactly the bytes asked for
//   misaligned vectors                by UndefinedBehaviorSanitizer
//   races                             difference_between_orders(): each of emulation::orders runs threads and blocks in another order
//   memory that nobody has written    is NaN, and has other bytes in one of the orders
//   both, in shared memory            thrown as emulation::fault at the first access, in programs that link cuda_emulation_watched (CMake)
//   hosts that do not wait            device::deferred: streams do their work when they are waited for
//   graphs that were destroyed, nodes of another graph or kernel    thrown as emulation::fault
//   hosts that touch device memory    device::guard_from_host(), under AddressSanitizer
//
// Not found: races in device memory that show in no order, and missing fences. Blocks run one after the other: one that waits for another never ends.
