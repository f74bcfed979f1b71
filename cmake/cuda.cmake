# SPDX-License-Identifier: Apache-2.0
# goldfinch_cuda(TARGET FILE.cu... [ARCHITECTURES 80 90a...] [OPTIONS ...]): compiles source files with nvcc and links them and CUDA's runtime into TARGET. They include
# <goldfinch/cuda.cuh> and hold `template class goldfinch::model<...>` for each model on a GPU, and nothing else; the target's other sources include
# <goldfinch/cuda.hpp>. Architectures are those of nvcc, sm_80 and later; of the first that names no features of its own (as 90a does) later GPUs get PTX, too. nvcc is
# GOLDFINCH_NVCC, looked for where CUDA is usually installed. The options are nvcc's.
#
#     add_executable(chat chat.cpp)
#     target_link_libraries(chat PRIVATE goldfinch::goldfinch)
#     goldfinch_cuda(chat model.cu ARCHITECTURES 80 90a)
include_guard(GLOBAL)

function(goldfinch_cuda target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "ARCHITECTURES;OPTIONS")
    set(sources ${arg_UNPARSED_ARGUMENTS})
    if(NOT TARGET ${target})
        message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}): there is no such target")
    endif()
    if(NOT sources)
        message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}) names no .cu file")
    endif()
    foreach(source IN LISTS sources)
        cmake_path(ABSOLUTE_PATH source)
        get_source_file_property(generated ${source} GENERATED)
        if(NOT EXISTS ${source} AND NOT generated)
            message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}): there is no file ${source}")
        endif()
    endforeach()
    find_program(GOLDFINCH_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
    mark_as_advanced(GOLDFINCH_NVCC)
    if(NOT GOLDFINCH_NVCC)
        message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}) needs nvcc: set GOLDFINCH_NVCC to its path")
    endif()
    file(REAL_PATH ${GOLDFINCH_NVCC} nvcc)
    cmake_path(GET nvcc PARENT_PATH root)
    cmake_path(GET root PARENT_PATH root)
    find_library(GOLDFINCH_CUDART cudart_static HINTS ${root}/lib64 ${root}/lib ${root}/targets/x86_64-linux/lib ${root}/targets/sbsa-linux/lib)
    mark_as_advanced(GOLDFINCH_CUDART)
    if(NOT GOLDFINCH_CUDART)
        message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}) finds no libcudart_static.a beside ${nvcc}: set GOLDFINCH_CUDART to its path")
    endif()

    if(NOT arg_ARCHITECTURES)
        set(arg_ARCHITECTURES 80 90a)
    endif()
    set(code "")
    set(has_ptx FALSE)
    foreach(architecture IN LISTS arg_ARCHITECTURES)
        string(REGEX MATCH "^[0-9]+" generation "${architecture}")
        if(NOT architecture MATCHES "^[0-9]+[af]?$" OR generation LESS 80)
            message(FATAL_ERROR "goldfinch: goldfinch_cuda(${target}): ARCHITECTURES are numbers from 80 on, such as 80 or 90a, found ${architecture}")
        endif()
        if(architecture MATCHES "^[0-9]+$" AND NOT has_ptx)
            list(APPEND code "--generate-code=arch=compute_${architecture},code=[compute_${architecture},sm_${architecture}]")
            set(has_ptx TRUE)
        else()
            list(APPEND code "--generate-code=arch=compute_${architecture},code=sm_${architecture}")
        endif()
    endforeach()

    # /usr/include would come before the compiler's own headers.
    set(includes "$<FILTER:$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>,EXCLUDE,^/usr/include/?$>")
    set(definitions "$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>")
    foreach(source IN LISTS sources)
        cmake_path(ABSOLUTE_PATH source)
        cmake_path(GET source STEM name)
        set(object ${CMAKE_CURRENT_BINARY_DIR}/goldfinch_cuda/${target}/${name}${CMAKE_CXX_OUTPUT_EXTENSION})
        file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/goldfinch_cuda/${target})
        add_custom_command(OUTPUT ${object}
            COMMAND ${GOLDFINCH_NVCC} -std=c++20 --extended-lambda --expt-relaxed-constexpr ${code} -Xcompiler=-fPIC "$<IF:$<CONFIG:Debug>,-g,-O3>"
                "$<$<BOOL:${includes}>:-I$<JOIN:${includes},;-I>>" "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>" ${arg_OPTIONS}
                -MD -MF ${object}.d -c ${source} -o ${object}
            DEPENDS ${source} DEPFILE ${object}.d COMMAND_EXPAND_LISTS VERBATIM
            COMMENT "Compiling ${name} of ${target} with nvcc")
        set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
        target_sources(${target} PRIVATE ${object})
    endforeach()
    find_package(Threads REQUIRED)
    target_link_libraries(${target} PRIVATE ${GOLDFINCH_CUDART} Threads::Threads ${CMAKE_DL_LIBS} $<$<PLATFORM_ID:Linux>:rt>)
endfunction()
