# A parent project keeps its own build type, flags and targets.
get_target_property(options goldfinch INTERFACE_COMPILE_OPTIONS)
get_directory_property(subdirectories SUBDIRECTORIES)
list(GET subdirectories 0 goldfinch_directory)
get_property(targets DIRECTORY ${goldfinch_directory} PROPERTY BUILDSYSTEM_TARGETS)
get_property(nested DIRECTORY ${goldfinch_directory} PROPERTY SUBDIRECTORIES)
if(CMAKE_BUILD_TYPE OR CMAKE_CXX_STANDARD OR options OR nested OR NOT targets STREQUAL "goldfinch")
    message(FATAL_ERROR "goldfinch forces something on its parent: build type '${CMAKE_BUILD_TYPE}', standard '${CMAKE_CXX_STANDARD}', "
        "options '${options}', targets '${targets}', folders '${nested}'")
endif()
