// SPDX-License-Identifier: Apache-2.0
// What tests of planted faults ask.
#pragma once

#include <string>

#include <cuda/emulation.hpp>

/// What a launch is refused with at run time, or "no fault".
template <class Run>
std::string fault_of(Run run) {
    try {
        run();
    } catch (emulation::fault const& e) {
        return e.what();
    }
    return "no fault";
}

inline bool contains(std::string const& text, char const* part) { return text.find(part) != std::string::npos; }
