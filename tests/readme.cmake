# SPDX-License-Identifier: Apache-2.0
# The README's first C++ block is a program: it compiles without warnings and runs beside the bundled model. Its block with a mixer
# is included by programs that use it on every backend, from the folder readme_blocks.
set(readme ${PROJECT_SOURCE_DIR}/README.md)
if(NOT EXISTS ${readme})
    return()
endif()

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${readme})
file(READ ${readme} text)

# The first C++ block of the README from `start` on, as a file.
function(readme_block start file)
    string(FIND "${text}" "${start}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "README.md has no block with: ${start}")
    endif()
    string(SUBSTRING "${text}" ${at} -1 block)
    string(FIND "${block}" "```" end)
    string(SUBSTRING "${block}" 0 ${end} block)
    file(CONFIGURE OUTPUT ${file} CONTENT "${block}" @ONLY)
endfunction()

# The program may name the model as it lies in the repository or in the working directory; what it writes stays here.
set(work ${CMAKE_CURRENT_BINARY_DIR}/readme)
set(readme_blocks ${work})
set(model ${PROJECT_SOURCE_DIR}/examples/models/shakespeare.safetensors)
readme_block("#include <goldfinch/goldfinch.hpp>" ${work}/readme.cpp)
readme_block("template <gf::config C>\nstruct my_mixer" ${work}/readme_mixer.hpp)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/examples ${work}/examples SYMBOLIC)
file(CREATE_LINK ${model} ${work}/shakespeare.safetensors SYMBOLIC)

add_executable(test_readme ${work}/readme.cpp)
goldfinch_program(test_readme)
target_compile_options(test_readme PRIVATE -Wsign-conversion)  # not one of ours, but headers should bear their users' warnings
add_test(NAME readme COMMAND test_readme WORKING_DIRECTORY ${work})
set_tests_properties(readme PROPERTIES TIMEOUT 120 REQUIRED_FILES ${model})

add_executable(test_readme_mixer ${PROJECT_SOURCE_DIR}/tests/readme_mixer.cpp)
target_include_directories(test_readme_mixer PRIVATE ${work})
goldfinch_program(test_readme_mixer)
add_test(NAME readme_mixer COMMAND test_readme_mixer)
set_tests_properties(readme_mixer PROPERTIES TIMEOUT 120)
