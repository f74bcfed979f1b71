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
        target_compile_options(${target} PRIVATE -Wno-restrict)  # false at -O3 for "text" + std::string: GCC bug 105651
    endif()
    if(GOLDFINCH_HAS_MARCH_NATIVE AND GOLDFINCH_NATIVE AND NOT arg_BASELINE)
        target_compile_options(${target} PRIVATE -march=native)
    endif()
    if(GOLDFINCH_SANITIZE)
        target_compile_options(${target} PRIVATE -fsanitize=${GOLDFINCH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
        target_link_options(${target} PRIVATE -fsanitize=${GOLDFINCH_SANITIZE})
    endif()
endfunction()
