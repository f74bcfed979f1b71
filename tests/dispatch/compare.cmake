# SPDX-License-Identifier: Apache-2.0
# cmake -D DISPATCHED=... -D ALONE=... -D SET=... -D WORK=... [-D EMULATOR=...] -P compare.cmake: a program that holds the kernels of several instruction
# sets, told to use SET, computes what a program built for that set alone computes.
cmake_minimum_required(VERSION 3.24)
file(MAKE_DIRECTORY ${WORK})
foreach(program DISPATCHED ALONE)
    set(ENV{GOLDFINCH_ISA} ${SET})
    execute_process(COMMAND ${EMULATOR} ${${program}} ${WORK}/${program} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(result EQUAL 2 AND output MATCHES "this CPU has [^\n]*" AND NOT output MATCHES "this CPU has [^\n]*${SET}")
        message(NOTICE "skipped: this CPU has no ${SET}: kernels chosen at run time")
        return()
    endif()
    if(NOT result EQUAL 0 OR NOT output STREQUAL "${SET}\n")
        message(FATAL_ERROR "${program} with GOLDFINCH_ISA=${SET}: ${result}\n${output}")
    endif()
endforeach()
execute_process(COMMAND ${EMULATOR} ${DISPATCHED} ${WORK}/DISPATCHED ${WORK}/ALONE COMMAND_ERROR_IS_FATAL ANY)

# What cannot be had is refused when a model is made.
set(ENV{GOLDFINCH_ISA} abacus)
execute_process(COMMAND ${EMULATOR} ${DISPATCHED} ${WORK}/never RESULT_VARIABLE result OUTPUT_VARIABLE output)
if(NOT result EQUAL 2 OR NOT output MATCHES "config_error: .*GOLDFINCH_ISA.*abacus")
    message(FATAL_ERROR "GOLDFINCH_ISA=abacus: ${result}\n${output}")
endif()
