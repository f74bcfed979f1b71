# SPDX-License-Identifier: Apache-2.0
# Helpers of the command tests, to be included by each of them.
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

# run(STATUS program arguments...): runs it, holds it to the exit status, and sets `out` and `err`. INPUT names a file for
# standard input.
function(run status)
    set(input "")
    if(INPUT)
        set(input INPUT_FILE ${INPUT})
    endif()
    execute_process(COMMAND ${ARGN} ${input} WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result OUTPUT_VARIABLE out ERROR_VARIABLE err)
    if(NOT result STREQUAL status)
        message(FATAL_ERROR "${ARGN}\nended with ${result}, expected ${status}\n--- stdout\n${out}\n--- stderr\n${err}")
    endif()
    set(out "${out}" PARENT_SCOPE)
    set(err "${err}" PARENT_SCOPE)
endfunction()

# expect(text regex): the text must match.
function(expect text regex)
    if(NOT text MATCHES "${regex}")
        message(FATAL_ERROR "expected a match of `${regex}` in\n${text}")
    endif()
endfunction()

# same(a b): two texts must be the same.
function(same a b)
    if(NOT a STREQUAL b)
        message(FATAL_ERROR "expected the same text, got\n${a}\n--- and\n${b}")
    endif()
endfunction()
