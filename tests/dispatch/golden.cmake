# SPDX-License-Identifier: Apache-2.0
# cmake -D PROGRAM=... -D SET=... -P golden.cmake: the golden vectors with the kernels of SET.
cmake_minimum_required(VERSION 3.24)
set(ENV{GOLDFINCH_ISA} ${SET})
execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result AND output MATCHES "this CPU has [^\n]*" AND NOT output MATCHES "this CPU has [^\n]*${SET}")
    message(NOTICE "skipped: this CPU has no ${SET}: golden vectors")
    return()
endif()
message(NOTICE "${output}")
if(result)
    message(FATAL_ERROR "the golden vectors do not hold with ${SET}")
endif()
