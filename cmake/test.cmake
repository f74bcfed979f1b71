# SPDX-License-Identifier: Apache-2.0
# cmake -P cmake/test.cmake: sets everything up, builds everything and runs all tests.
include(${CMAKE_CURRENT_LIST_DIR}/setup.cmake)

install_missing(libeigen3-dev libxsimd-dev libcli11-dev doctest-dev libbenchmark-dev)
set(folder ${goldfinch_root}/build/test)
build(${folder} OPTIONS "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG")  # a fifth less to compile than with -O3

say("testing")
count_jobs(jobs)
cmake_path(GET CMAKE_COMMAND PARENT_PATH bin)
execute_process(COMMAND ${bin}/ctest --test-dir ${folder} --parallel ${jobs} --output-on-failure
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(NOTICE "${output}")
    message(FATAL_ERROR "goldfinch: tests failed")
endif()

# What did not run, then the summary.
file(STRINGS ${folder}/Testing/Temporary/LastTest.log skipped REGEX "skipped: ")
list(TRANSFORM skipped REPLACE ".*(skipped: )" "\\1")  # doctest puts file and line before it
string(REGEX MATCH "[0-9]+% tests passed[^\n]*" summary "${output}")
list(REMOVE_DUPLICATES skipped)
foreach(line IN LISTS skipped summary)
    say("${line}")
endforeach()
