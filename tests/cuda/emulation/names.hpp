// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <string>

namespace emulation::detail {

/// A kernel's name, where the program exports it (CMake's ENABLE_EXPORTS).
inline std::string name_of(void const* kernel) {
    Dl_info found{};
    if (::dladdr(kernel, &found) == 0 || !found.dli_sname || found.dli_saddr != kernel) return "a kernel";
    int status = 0;
    char* plain = abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status);
    std::string name = plain ? plain : found.dli_sname;
    std::free(plain);
    return name;
}

}  // namespace emulation::detail
