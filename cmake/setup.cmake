# SPDX-License-Identifier: Apache-2.0
# What cmake/demo.cmake and cmake/test.cmake share: from a bare machine to a finished build, quiet unless something fails.
cmake_minimum_required(VERSION 3.24)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH goldfinch_root)

# quietly(NAME COMMAND...): runs it, and shows what it printed where it fails.
function(quietly name)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT result EQUAL 0)
        list(JOIN ARGN " " command)
        message(NOTICE "${output}")
        message(FATAL_ERROR "goldfinch: ${name} failed (${result}): ${command}")
    endif()
endfunction()

function(say text)
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo "goldfinch: ${text}")  # on standard output, at once
endfunction()

# A compiler that knows C++20, as its libraries must: the first of CXX, c++, g++ and clang++.
function(find_compiler result)
    set(${result} "" PARENT_SCOPE)
    execute_process(COMMAND mktemp -d OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE)
    file(WRITE ${folder}/probe.cpp "#include <concepts>\n#include <span>\nstruct config { int n; };\ntemplate <config C> struct model {};\nint main() { model<config{.n = 1}> m; (void)m; }\n")
    foreach(name $ENV{CXX} c++ g++ clang++)
        find_program(compiler ${name} NO_CACHE)
        if(compiler)
            execute_process(COMMAND ${compiler} -std=c++20 ${folder}/probe.cpp -o ${folder}/probe RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
            if(NOT failed)
                set(${result} ${compiler} PARENT_SCOPE)
                break()
            endif()
        endif()
        unset(compiler)
    endforeach()
    file(REMOVE_RECURSE ${folder})
endfunction()

# Installs what is missing of a compiler, a build tool and the given Debian packages where that is possible, else says what to
# install and stops.
function(install_missing)
    set(probe_libeigen3-dev eigen3/Eigen/Core Eigen/Core)
    set(probe_libxsimd-dev xsimd/xsimd.hpp)
    set(probe_libcli11-dev CLI/CLI.hpp)
    set(probe_doctest-dev doctest/doctest.h)
    set(probe_libbenchmark-dev benchmark/benchmark.h)

    set(missing "")
    find_compiler(compiler)
    if(NOT compiler)
        list(APPEND missing g++)
    endif()
    find_program(build_tool NAMES ninja make NO_CACHE)
    if(NOT build_tool)
        list(APPEND missing ninja-build)
    endif()
    foreach(package IN LISTS ARGN)
        find_path(header NAMES ${probe_${package}} PATHS /usr/include /usr/local/include NO_CACHE)  # and below CMAKE_PREFIX_PATH
        if(NOT header)
            list(APPEND missing ${package})
        endif()
        unset(header)
    endforeach()
    if(NOT missing)
        return()
    endif()

    list(JOIN missing " " packages)
    find_program(apt_get apt-get NO_CACHE)
    execute_process(COMMAND id -u OUTPUT_VARIABLE user OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT apt_get OR NOT user EQUAL 0)
        set(how "${packages} (Debian's names)")
        if(apt_get)
            set(how "sudo apt-get install ${packages}")
        endif()
        message(NOTICE "goldfinch needs a few packages. Install them and run this again:\n\n    ${how}\n")
        message(FATAL_ERROR "goldfinch: not set up yet")
    endif()

    say("installing ${packages}")
    set(ENV{DEBIAN_FRONTEND} noninteractive)
    # A broken third-party source fails the update, and need not keep these packages from us.
    execute_process(COMMAND ${apt_get} -q -o DPkg::Lock::Timeout=120 update OUTPUT_VARIABLE updated ERROR_VARIABLE updated)
    execute_process(COMMAND ${apt_get} -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends ${missing}
        RESULT_VARIABLE result OUTPUT_VARIABLE installed ERROR_VARIABLE installed)
    if(NOT result EQUAL 0)
        message(NOTICE "${updated}${installed}")
        message(FATAL_ERROR "goldfinch: apt-get install ${packages} failed (${result})")
    endif()
endfunction()

# One compile job a core, and 1.5 GiB of memory each.
function(count_jobs result)
    execute_process(COMMAND nproc OUTPUT_VARIABLE cores OUTPUT_STRIP_TRAILING_WHITESPACE)
    cmake_host_system_information(RESULT memory QUERY AVAILABLE_PHYSICAL_MEMORY)  # MiB
    math(EXPR fitting "${memory} / 1500")
    if(fitting LESS 1)
        set(fitting 1)
    endif()
    if(fitting LESS cores)
        set(cores ${fitting})
    endif()
    set(${result} ${cores} PARENT_SCOPE)
endfunction()

# build(FOLDER [TARGETS name...] [OPTIONS -D...]): configures the checkout into FOLDER and builds it, for this machine.
function(build folder)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "TARGETS;OPTIONS")
    set(choice "")
    if(NOT EXISTS ${folder}/CMakeCache.txt)  # a folder keeps the generator and compiler it was made with
        find_program(ninja ninja NO_CACHE)
        if(ninja AND NOT DEFINED ENV{CMAKE_GENERATOR})
            set(choice -G Ninja)
        endif()
        find_compiler(compiler)
        list(APPEND choice -D CMAKE_CXX_COMPILER=${compiler})
    endif()
    quietly("configuring" ${CMAKE_COMMAND} -S ${goldfinch_root} -B ${folder} ${choice} -D CMAKE_BUILD_TYPE=Release ${arg_OPTIONS})

    count_jobs(jobs)
    set(targets "")
    if(arg_TARGETS)
        set(targets --target ${arg_TARGETS})
    endif()
    say("building in ${folder}")
    quietly("building" ${CMAKE_COMMAND} --build ${folder} --parallel ${jobs} ${targets})
endfunction()
