// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <goldfinch/compiled_for.hpp>
#include <goldfinch/backend/simd/table.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/message.hpp>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#define GOLDFINCH_HAS_CPUID 1
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#else
#define GOLDFINCH_HAS_CPUID 0
#endif
#if GOLDFINCH_NEON && defined(__linux__)
#include <sys/auxv.h>
#endif

// Which instruction set's kernels run: the build's own, or, in a program that holds several (goldfinch_dispatch() in CMake defines
// GOLDFINCH_DISPATCH), the best that the CPU has. The environment variable GOLDFINCH_ISA names one to use instead.

namespace goldfinch {
namespace detail {

#if defined(GOLDFINCH_DISPATCH)
/// An instruction set that the program holds, and its kernels.
struct held_set {
    char const* name;
    kernel_table const& (*table)();
};
extern held_set const held_sets[];  ///< written by goldfinch_dispatch(): plainest first, ends with a nullptr for a name
#endif

inline namespace GOLDFINCH_SIMD_NAMESPACE {

/// All names, plainest first.
inline constexpr char const* instruction_sets[] = {"sse2", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx", "neon", "neon_dotprod"};

#if GOLDFINCH_HAS_CPUID
/// Whether this process may use AMX, which Linux grants on request.
inline bool amx_permitted() {
#if defined(__linux__)
    constexpr long request_permission = 0x1023, tile_data = 18;
    static bool const permitted = ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return permitted;
#else
    return true;
#endif
}
#endif

/// Whether CPU and operating system have the instruction set.
GOLDFINCH_COLD inline bool cpu_has(std::string_view set) {
#if GOLDFINCH_HAS_CPUID
    unsigned a = 0, b = 0, c = 0, d = 0, basic_c = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
    if (!__get_cpuid(1, &a, &b, &basic_c, &d)) return false;
    std::uint64_t saved = 0;  // the registers that the operating system saves
    if ((basic_c >> 27 & 1) != 0) {
        unsigned low, high;
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        saved = std::uint64_t{high} << 32 | low;
    }
    unsigned subleaves = 0;
    if (__get_cpuid_count(7, 0, &subleaves, &b7, &c7, &d7) && subleaves >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    auto const bit = [](unsigned word, int i) { return (word >> i & 1) != 0; };
    auto const saves = [saved](std::uint64_t mask) { return (saved & mask) == mask; };

    if (set == "sse2") return true;
    // AVX, FMA, F16C, POPCNT and AVX2, and the upper halves of registers.
    bool has = bit(basic_c, 28) && bit(basic_c, 12) && bit(basic_c, 29) && bit(basic_c, 23) && bit(b7, 5) && saves(0x6);
    if (set == "avx2") return has;
    has = has && bit(b7, 16) && bit(b7, 28) && bit(b7, 30) && bit(b7, 17) && bit(b7, 31) && saves(0xe6);
    if (set == "avx512") return has;
    has = has && bit(c7, 11);
    if (set == "avx512_vnni") return has;
    has = has && bit(a71, 5);
    if (set == "avx512_bf16") return has;
    if (set == "amx") return has && bit(d7, 24) && bit(d7, 25) && bit(d7, 22) && saves(0x600e6) && amx_permitted();
    return false;
#elif GOLDFINCH_NEON
    if (set == "neon") return true;
#if defined(__linux__)
    constexpr unsigned long dot_products = 1ul << 20;  // HWCAP_ASIMDDP
    return set == "neon_dotprod" && (::getauxval(AT_HWCAP) & dot_products) != 0;
#else
    return set == GOLDFINCH_TEXT(GOLDFINCH_SET);  // what the program is compiled for
#endif
#else
    return set == GOLDFINCH_TEXT(GOLDFINCH_SET);
#endif
}

/// Adds the names for which f holds, as "a, b, c".
template <class F>
void append_sets(std::string& text, F const& f) {
    char const* separator = "";
    for (char const* const name : instruction_sets)
        if (f(name)) {
            append(text, {separator, name});
            separator = ", ";
        }
    if (*separator == '\0') text += "none of these";
}

/// Whether the program holds kernels for the instruction set.
inline bool holds(std::string_view set) {
#if defined(GOLDFINCH_DISPATCH)
    for (held_set const* held = held_sets; held->name != nullptr; ++held)
        if (set == held->name) return true;
    return false;
#else
    return set == GOLDFINCH_TEXT(GOLDFINCH_SET);
#endif
}

[[noreturn]] GOLDFINCH_COLD inline void refuse_instruction_set(std::string_view problem) {
    std::string text = message({problem, "; the program holds "});
    append_sets(text, [](char const* set) { return holds(set); });
    text += ", and this CPU has ";
    append_sets(text, [](char const* set) { return cpu_has(set); });
    throw config_error(text);
}

/// The instruction set to use. Throws config_error where GOLDFINCH_ISA names one that cannot be had, or the CPU lacks the build's own.
GOLDFINCH_COLD inline char const* find_instruction_set() {
    char const* const asked = std::getenv("GOLDFINCH_ISA");
    if (asked != nullptr && *asked != '\0') {
        for (char const* const name : instruction_sets)
            if (std::string_view(name) == asked && holds(name) && cpu_has(name)) return name;
        refuse_instruction_set(message({"the environment variable GOLDFINCH_ISA asks for the instruction set ", in_quotes(asked)}));
    }
#if defined(GOLDFINCH_DISPATCH)
    char const* best = nullptr;
    for (held_set const* held = held_sets; held->name != nullptr; ++held)
        if (cpu_has(held->name)) best = held->name;
    if (best == nullptr) refuse_instruction_set("there are no kernels for this CPU");
    return best;
#else
    if (!cpu_has(GOLDFINCH_TEXT(GOLDFINCH_SET))) refuse_instruction_set("this program was not compiled for this CPU");
    return GOLDFINCH_TEXT(GOLDFINCH_SET);
#endif
}

/// Found once, at first use. Where it throws, the next use tries again.
inline char const* chosen_instruction_set() {
    static char const* const chosen = find_instruction_set();
    return chosen;
}

/// Throws config_error unless there is an instruction set that this program may use.
inline void require_instruction_set() { chosen_instruction_set(); }

#if defined(GOLDFINCH_DISPATCH)
GOLDFINCH_COLD inline kernel_table const& chosen_table() {
    std::string_view const chosen = chosen_instruction_set();
    held_set const* held = held_sets;
    while (chosen != held->name) ++held;
    return held->table();
}

/// The kernels of the chosen instruction set.
inline kernel_table const& kernels() {
    static kernel_table const& table = chosen_table();
    return table;
}
#endif

}  // namespace GOLDFINCH_SIMD_NAMESPACE
}  // namespace detail

inline namespace GOLDFINCH_SIMD_NAMESPACE {

/// The instruction set whose kernels run: "sse2", "avx2" (with FMA and F16C), "avx512" (F, CD, BW, DQ, VL), "avx512_vnni", "avx512_bf16",
/// "amx" (tile, int8, bf16), or "neon" and "neon_dotprod"; "generic" on other processors. Each set includes those before it. It is the one that the
/// program was compiled for, or the best that CPU and program have where the program holds several, or what the environment variable
/// GOLDFINCH_ISA names. Throws config_error where that cannot be had.
inline char const* instruction_set() { return detail::chosen_instruction_set(); }

}  // namespace GOLDFINCH_SIMD_NAMESPACE
}  // namespace goldfinch
