# SPDX-License-Identifier: Apache-2.0
# How goldfinch's own tests, benchmarks and examples are compiled. Nothing here reaches a user's targets.
include(CheckCXXCompilerFlag)

set(goldfinch_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)

if(GOLDFINCH_NATIVE)
    check_cxx_compiler_flag(-march=native GOLDFINCH_HAS_MARCH_NATIVE)
endif()

# Strict warnings and the sanitizers asked for; for this machine, or for the plainest one of its kind where BASELINE is given.
function(goldfinch_program target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "BASELINE" "" "")
    target_link_libraries(${target} PRIVATE goldfinch::goldfinch)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    target_compile_options(${target} PRIVATE ${goldfinch_warnings})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
        # -Wrestrict is false at -O3 for "text" + std::string (GCC bug 105651). backend/cpu/intrinsics.hpp silences -Wmaybe-uninitialized in GCC's own
        # intrinsics, but a precompiled header forgets the pragmas in it.
        target_compile_options(${target} PRIVATE -Wno-restrict -Wno-maybe-uninitialized -Wno-uninitialized)
    endif()
    if(GOLDFINCH_HAS_MARCH_NATIVE AND GOLDFINCH_NATIVE AND NOT arg_BASELINE)
        target_compile_options(${target} PRIVATE -march=native)
    endif()
    if(GOLDFINCH_SANITIZE)
        target_compile_options(${target} PRIVATE -fsanitize=${GOLDFINCH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
        if(GOLDFINCH_SANITIZE MATCHES "address")
            # It stops at reads through null pointers and beyond objects, too: other checks of them, and of pointers that wrap around, are a fifth of
            # the time to compile.
            target_compile_options(${target} PRIVATE -fno-sanitize=null,object-size,pointer-overflow)
        endif()
        target_link_options(${target} PRIVATE -fsanitize=${GOLDFINCH_SANITIZE})
    endif()
endfunction()

# goldfinch_precompiled(TARGET [LIBRARY...]): a program that includes the whole library, which takes longer to parse than most of them to
# compile, takes it from one precompiled header. Every header is also checked to compile alone. The libraries are linked
# to it: all programs name the same.
function(goldfinch_precompiled target)
    target_link_libraries(${target} PRIVATE ${ARGN})
    if(NOT TARGET goldfinch_headers)
        file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/goldfinch_headers.cpp CONTENT "")
        add_library(goldfinch_headers OBJECT ${PROJECT_BINARY_DIR}/goldfinch_headers.cpp)
        goldfinch_program(goldfinch_headers)
        target_link_libraries(goldfinch_headers PRIVATE ${ARGN})
        target_precompile_headers(goldfinch_headers PRIVATE <goldfinch/goldfinch.hpp>)
    endif()
    target_precompile_headers(${target} REUSE_FROM goldfinch_headers)
endfunction()
