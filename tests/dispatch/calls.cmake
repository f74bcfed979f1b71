# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=... -D WORK=... -D GENERATOR=... -D COMPILER=... [-D MAKE_PROGRAM=...] [-D TOOLCHAIN=...] -P calls.cmake
# What goldfinch_dispatch takes, and what it says of a call that makes no sense.

# calls(STATUS REGEX CALL...): configures a project with these calls; what it says must match.
function(calls status regex)
    execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}
            -D CMAKE_TOOLCHAIN_FILE=${TOOLCHAIN} -S ${SOURCE}/tests/dispatch/calls -B ${WORK} -D GOLDFINCH_SOURCE_DIR=${SOURCE} "-DCALLS=${ARGN}"
        RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
    string(REGEX REPLACE "[ \n]+" " " text "${text}")  # CMake breaks lines
    if(NOT result EQUAL status OR NOT text MATCHES "${regex}")
        message(FATAL_ERROR "goldfinch_dispatch: ${ARGN}\nended with ${result}, expected ${status} and a match of `${regex}` in\n${text}")
    endif()
endfunction()

calls(0 "sources: app.cpp;[^ ]*/(sse2|neon).cpp;[^ ]*held_sets.cpp" "app,neon,sse2")  # those of another architecture are passed over
calls(0 "sources: app.cpp;[^ ]*/(sse2.cpp;[^ ]*/avx2|neon.cpp;[^ ]*/neon_dotprod).cpp;[^ ]*held_sets.cpp" "app,neon_dotprod,avx2")
calls(1 "goldfinch_dispatch\\(app ... avx3 ...\\): on [^ ]+ the instruction sets are" "app,neon,avx3")
calls(1 "goldfinch_dispatch\\(app\\) names no instruction set, such as avx2" "app")
calls(1 "goldfinch_dispatch\\(app\\) is called twice: name all instruction sets in one call" "app,neon,sse2" "app,neon,sse2")
calls(1 "goldfinch_dispatch\\(other\\): there is no such target" "other,neon")
