# SPDX-License-Identifier: Apache-2.0
# --help fits a screen of 24 lines and 100 columns.
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

foreach(program ${GENERATE} ${PERPLEXITY} ${INSPECT})
    run(0 ${program} --help)
    expect("${out}" "usage: goldfinch-")
    string(REGEX MATCHALL "[^\n]*\n" lines "${out}")
    list(LENGTH lines count)
    if(count GREATER 24)
        message(FATAL_ERROR "${count} lines of help\n${out}")
    endif()
    foreach(line IN LISTS lines)
        string(LENGTH "${line}" length)
        if(length GREATER 101)
            message(FATAL_ERROR "a line of help is longer than 100 columns:\n${line}")
        endif()
    endforeach()
endforeach()
