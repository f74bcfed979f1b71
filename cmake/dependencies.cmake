# SPDX-License-Identifier: Apache-2.0
# Read by CMakeLists.txt and by the installed package once Eigen3 and xsimd are found: checks what was found, says what is
# wrong with it in goldfinch_problem, and defines goldfinch::xsimd.

set(goldfinch_problem "")
if(Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
    set(goldfinch_problem "Eigen 3.4 or newer is needed, found ${Eigen3_VERSION} in ${Eigen3_DIR}")
elseif(xsimd_VERSION AND xsimd_VERSION VERSION_LESS 8.1)
    set(goldfinch_problem "xsimd 8.1 or newer is needed, found ${xsimd_VERSION} in ${xsimd_DIR}")
endif()

# xsimd's headers and nothing else: its target is called xsimd or xsimd::xsimd, and Debian 12's links a library xtl that
# neither exists there nor is needed.
if(NOT TARGET goldfinch::xsimd)
    if(TARGET xsimd)
        get_target_property(goldfinch_xsimd_headers xsimd INTERFACE_INCLUDE_DIRECTORIES)
    else()
        get_target_property(goldfinch_xsimd_headers xsimd::xsimd INTERFACE_INCLUDE_DIRECTORIES)
    endif()
    add_library(goldfinch::xsimd INTERFACE IMPORTED GLOBAL)
    target_include_directories(goldfinch::xsimd INTERFACE ${goldfinch_xsimd_headers})
    unset(goldfinch_xsimd_headers)
endif()
