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

# draws(table picture...): bench/plot.py draws these of a CSV file and no others. Where it cannot, it says what it needs.
function(draws table)
    find_program(python python3)
    if(NOT python)
        message(STATUS "skipped: pictures of ${table}: there is no python3")
        return()
    endif()
    execute_process(COMMAND ${python} -c "import matplotlib" RESULT_VARIABLE missing ERROR_QUIET)
    if(missing)
        run(1 ${python} ${PLOT} ${table})
        same("${err}" "plot.py: needs matplotlib: `pip install matplotlib`, or Debian's python3-matplotlib\n")
        message(STATUS "skipped: pictures of ${table}: python3 has no matplotlib")
        return()
    endif()
    file(REMOVE_RECURSE ${WORK}/pictures)
    run(0 ${python} ${PLOT} ${table} -o pictures --format svg)
    file(GLOB files RELATIVE ${WORK}/pictures ${WORK}/pictures/*)
    list(TRANSFORM ARGN APPEND ".svg")
    same("${files}" "${ARGN}")
    foreach(file IN LISTS files)
        file(READ ${WORK}/pictures/${file} text LIMIT 100)
        expect("${text}" "^<.xml ")
    endforeach()
endfunction()
