# SPDX-License-Identifier: Apache-2.0
# The long fuzzing: one program a file with its own main, and the target fuzz, which builds and runs them all.
file(GLOB sources CONFIGURE_DEPENDS fuzz/fuzz_*.cpp)
add_custom_target(fuzz)
foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    add_executable(${name} EXCLUDE_FROM_ALL ${source})
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
    target_compile_definitions(${name} PRIVATE GOLDFINCH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    goldfinch_program(${name})
    add_custom_target(run_${name} COMMAND ${name} USES_TERMINAL)
    add_dependencies(fuzz run_${name})
endforeach()
