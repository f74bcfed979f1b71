# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=... -D WORK=... -D GENERATOR=... -D COMPILER=... -D NVCC=... [-D MAKE_PROGRAM=...] -P calls.cmake
# What goldfinch_cuda takes, and what it says of a call that makes no sense.

# calls(STATUS REGEX ARGUMENTS): configures a project with this call; what it says must match.
function(calls status regex arguments)
    execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}
            -S ${SOURCE}/tests/nvcc/calls -B ${WORK} -D GOLDFINCH_SOURCE_DIR=${SOURCE} -D GOLDFINCH_NVCC=${NVCC} -D CALL=${arguments}
        RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
    string(REGEX REPLACE "[ \n]+" " " text "${text}")  # CMake breaks lines
    if(NOT result EQUAL status OR NOT text MATCHES "${regex}")
        message(FATAL_ERROR "goldfinch_cuda: ${arguments}\nended with ${result}, expected ${status} and a match of `${regex}` in\n${text}")
    endif()
endfunction()

calls(0 "Generating done" "app,model.cu")
calls(0 "Generating done" "app,model.cu,ARCHITECTURES,80,86,90a")
calls(1 "goldfinch_cuda\\(other\\): there is no such target" "other,model.cu")
calls(1 "goldfinch_cuda\\(app\\) names no .cu file" "app")
calls(1 "goldfinch_cuda\\(app\\) takes .cu files, found app.cpp" "app,model.cu,app.cpp")
calls(1 "goldfinch_cuda\\(app\\): there is no file [^ ]*/none.cu" "app,none.cu")
foreach(wrong 75 95 80a 90f 80x native)
    calls(1 "goldfinch_cuda\\(app\\): ARCHITECTURES of this nvcc are 80, .*, 90, .*, found ${wrong} " "app,model.cu,ARCHITECTURES,80,${wrong}")
endforeach()
