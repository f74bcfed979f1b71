# SPDX-License-Identifier: Apache-2.0
# cmake -D KIND=... -D SOURCE=... -D WORK=... -D GENERATOR=... -D COMPILER=... [-D MAKE_PROGRAM=...] -P run.cmake
# Builds and runs the consumer project tests/consumers/KIND in the folder WORK.

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${WORK})
set(configure ${CMAKE_COMMAND} -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_MAKE_PROGRAM=${MAKE_PROGRAM})

if(KIND MATCHES "^(find_package|cuda)$")
    run(${configure} -S ${SOURCE} -B ${WORK}/goldfinch -D GOLDFINCH_BUILD_TESTS=OFF -D GOLDFINCH_BUILD_BENCHMARKS=OFF -D GOLDFINCH_BUILD_EXAMPLES=OFF)
    run(${CMAKE_COMMAND} --install ${WORK}/goldfinch --prefix ${WORK}/installed)
    list(APPEND configure -D CMAKE_PREFIX_PATH=${WORK}/installed)
endif()

run(${configure} -S ${SOURCE}/tests/consumers/${KIND} -B ${WORK}/build -D GOLDFINCH_SOURCE_DIR=${SOURCE})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
