# SPDX-License-Identifier: Apache-2.0
# What find_package(goldfinch) needs. Components: development (this), commands (examples/CMakeLists.txt).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/goldfinch)

install(TARGETS goldfinch EXPORT goldfinchTargets FILE_SET HEADERS COMPONENT development FILE_SET kernels COMPONENT development)
install(EXPORT goldfinchTargets NAMESPACE goldfinch:: DESTINATION ${package_dir} COMPONENT development)

configure_package_config_file(cmake/goldfinchConfig.cmake.in ${PROJECT_BINARY_DIR}/goldfinchConfig.cmake INSTALL_DESTINATION ${package_dir})
# Header-only: one installation serves every architecture. Before 1.0 a minor version may break its users.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/goldfinchConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/goldfinchConfig.cmake ${PROJECT_BINARY_DIR}/goldfinchConfigVersion.cmake
    DESTINATION ${package_dir} COMPONENT development)
install(FILES cmake/dependencies.cmake RENAME goldfinchDependencies.cmake DESTINATION ${package_dir} COMPONENT development)
install(FILES cmake/cuda.cmake RENAME goldfinchCuda.cmake DESTINATION ${package_dir} COMPONENT development)
install(FILES cmake/dispatch.cmake RENAME goldfinchDispatch.cmake DESTINATION ${package_dir} COMPONENT development)
