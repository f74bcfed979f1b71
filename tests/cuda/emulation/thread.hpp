// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "fibers.hpp"
#include "types.hpp"

// What a block knows of its threads and warps.

namespace emulation {

/// What a kernel did that a GPU answers with undefined behaviour: the kernel, block and thread are in the message.
struct fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

namespace detail {

inline constexpr unsigned whole_warp = 0xffffffffu;

/// Where in a kernel something was called.
struct call {
    char const* what = "";
    char const* function = "";
    char const* file = "";
    int line = 0;
};

inline std::string to_string(call const& c) { return std::string(c.what) + " (" + c.function + ", " + c.file + ":" + std::to_string(c.line) + ")"; }
inline std::string to_string(uint3 i) { return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")"; }

/// An asynchronous copy of 16 bytes that has been asked for.
struct pending_copy {
    void* to;
    void const* from;
    bool valid;
    std::array<std::byte, 16> asked_for;  // what lay there then
    unsigned group;
    call where;
};

enum class condition : unsigned char { ready, at_barrier, in_warp_operation, returned };

struct thread {
    unsigned number = 0;
    uint3 index{};
    fiber_stack* stack = nullptr;  // null until it starts
    condition now = condition::ready;
    call where;         // it waits
    unsigned mask = 0;  // of the warp operation it waits in
    // What a lane gives to a warp operation and gets from it: whoever arrives last works for all.
    std::uint64_t given = 0;
    std::uint64_t got = 0;
    unsigned source = 0;
    void const* read[2] = {};
    void* written = nullptr;
    std::vector<pending_copy> copies;
    unsigned copy_group = 0;
};

/// Lanes that meet in one operation.
struct meeting {
    call where;
    unsigned mask = 0;
    unsigned arrived = 0;
};

struct warp {
    unsigned ready = 0;     // lanes
    unsigned returned = 0;  // lanes
    unsigned exists = 0;    // lanes: the last warp of a block may have fewer
    thread* lanes = nullptr;
    std::vector<meeting> meetings;
    std::uint32_t barriers = 0;  // __syncwarp() so far
};

}  // namespace detail
}  // namespace emulation
