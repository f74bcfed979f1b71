# SPDX-License-Identifier: Apache-2.0
# goldfinch_dispatch(TARGET SET...): TARGET holds the SIMD kernels for several instruction sets, and the best that the CPU has is chosen
# when it runs. Sets: sse2 avx2 avx512 avx512_vnni avx512_bf16 amx; neon neon_dotprod; each of which includes those before it. The plainest set
# of the architecture, sse2 or neon, is always there, and sets of another architecture are passed over, so that one line serves all. The target's own
# sources keep their flags, and need none. One call a target.
#
#     add_executable(chat chat.cpp)
#     target_link_libraries(chat PRIVATE goldfinch::goldfinch)
#     goldfinch_dispatch(chat avx2 avx512 amx)
include_guard(GLOBAL)
include(CheckCXXSourceCompiles)

function(goldfinch_dispatch target)
    set(sets_x86 sse2 avx2 avx512 avx512_vnni avx512_bf16 amx)
    set(sets_arm neon neon_dotprod)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
        set(known ${sets_x86})
        set(base sse2)
        # The last -march counts: kernels keep to their set in a target that is compiled with -march=native.
        set(flags -march=x86-64)
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
        set(known ${sets_arm})
        set(base neon)
        set(flags "")  # those of each set have an -march, and the last counts here, too
    else()
        message(FATAL_ERROR "goldfinch: goldfinch_dispatch knows the instruction sets of x86-64 and aarch64, and this is ${CMAKE_SYSTEM_PROCESSOR}")
    endif()
    if(NOT TARGET ${target})
        message(FATAL_ERROR "goldfinch: goldfinch_dispatch(${target}): there is no such target")
    endif()
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")
        message(FATAL_ERROR "goldfinch: goldfinch_dispatch(${target}) needs a program or a library with sources; ${target} is an INTERFACE library")
    endif()
    if(NOT ARGN)
        message(FATAL_ERROR "goldfinch: goldfinch_dispatch(${target}) names no instruction set, such as avx2")
    endif()
    foreach(set IN LISTS ARGN)
        if(NOT set IN_LIST sets_x86 AND NOT set IN_LIST sets_arm)
            list(JOIN known ", " names)
            message(FATAL_ERROR "goldfinch: goldfinch_dispatch(${target} ... ${set} ...): on ${CMAKE_SYSTEM_PROCESSOR} the instruction sets are ${names}")
        endif()
    endforeach()
    get_target_property(dispatched ${target} GOLDFINCH_DISPATCHED)
    if(dispatched)
        message(FATAL_ERROR "goldfinch: goldfinch_dispatch(${target}) is called twice: name all instruction sets in one call")
    endif()
    set_target_properties(${target} PROPERTIES GOLDFINCH_DISPATCHED TRUE)

    set(flags_neon -march=armv8-a+nodotprod)  # also where the compiler's own choice is a later CPU, as on Macs
    set(flags_neon_dotprod -march=armv8.2-a+dotprod)
    set(flags_sse2 -msse2)
    set(flags_avx2 -mavx2 -mfma -mf16c)
    set(flags_avx512 -mavx512f -mavx512cd -mavx512bw -mavx512dq -mavx512vl)
    set(flags_avx512_vnni -mavx512vnni)
    set(flags_avx512_bf16 -mavx512bf16)
    set(flags_amx -mamx-tile -mamx-int8 -mamx-bf16)
    set(folder ${CMAKE_CURRENT_BINARY_DIR}/goldfinch_dispatch/${target})
    set(declarations "")
    set(entries "")
    foreach(set IN LISTS known)
        list(APPEND flags ${flags_${set}})
        if(NOT set STREQUAL base AND NOT set IN_LIST ARGN)
            continue()
        endif()
        list(JOIN flags " " CMAKE_REQUIRED_FLAGS)
        check_cxx_source_compiles("int main() {}" GOLDFINCH_COMPILER_KNOWS_${set})
        if(NOT GOLDFINCH_COMPILER_KNOWS_${set})
            message(FATAL_ERROR "goldfinch: ${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_VERSION} cannot compile for the instruction set ${set} "
                                "(${CMAKE_REQUIRED_FLAGS}); leave it out of goldfinch_dispatch(${target} ...)")
        endif()
        set(source ${folder}/${set}.cpp)
        file(CONFIGURE OUTPUT ${source} CONTENT "// The kernels for ${set}.\n#define GOLDFINCH_EXPECTED_SET ${set}\n#include <goldfinch/backend/simd/target.hpp>\n")
        # Without optimisation, what kernels call of the standard library would be functions that all sets share.
        set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES
            COMPILE_OPTIONS "$<$<NOT:$<CONFIG:Release,RelWithDebInfo,MinSizeRel>>:-O2>;${flags}" SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
        target_sources(${target} PRIVATE ${source})
        string(APPEND declarations "kernel_table const& kernels_${set}();\n")
        string(APPEND entries "    {\"${set}\", kernels_${set}},\n")
    endforeach()

    set(source ${folder}/held_sets.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "// The instruction sets that ${target} holds, plainest first.
#include <goldfinch/backend/simd/instruction_set.hpp>

namespace goldfinch::detail {

${declarations}
extern held_set const held_sets[] = {
${entries}    {nullptr, nullptr},
};

}  // namespace goldfinch::detail
")
    set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
    target_sources(${target} PRIVATE ${source})
    target_compile_definitions(${target} PUBLIC GOLDFINCH_DISPATCH)
endfunction()
