// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <sstream>
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

/// Where an instruction is, for addr2line, and in which function, where the program exports it.
inline std::string name_of_code(void const* p) {
    Dl_info found{};
    if (!p || ::dladdr(p, &found) == 0) return "an unknown place";
    std::ostringstream text;
    text << found.dli_fname << "+0x" << std::hex << static_cast<char const*>(p) - static_cast<char const*>(found.dli_fbase);
    if (found.dli_sname) text << " in " << name_of(found.dli_saddr);
    return text.str();
}

}  // namespace emulation::detail
