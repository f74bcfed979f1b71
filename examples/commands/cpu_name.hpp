// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <fstream>
#include <string>

namespace commands {

/// As the system names it.
inline std::string cpu_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (std::size_t const at = line.find(": "); at != line.npos && line.starts_with("model name")) return line.substr(at + 2);
    return "unknown CPU";
}

}  // namespace commands
