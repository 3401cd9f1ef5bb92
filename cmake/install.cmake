# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: headers, both libraries, the CMake package ek, ek.pc. Nothing
# installed names the build machine, and the tree may be moved as a whole. The static library has an
# export set of its own, so that a user of the shared one needs no cpuinfo.
include(CMakePackageConfigHelpers)

set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ek)
install(DIRECTORY include/ek DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(kind IN ITEMS shared static)
  install(TARGETS ek_${kind} EXPORT ek-${kind}-targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT ek-${kind}-targets NAMESPACE ek:: DESTINATION ${cmake_dir})
endforeach()

configure_package_config_file(cmake/ek-config.cmake.in ek-config.cmake
  INSTALL_DESTINATION ${cmake_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(ek-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ek-config.cmake ${PROJECT_BINARY_DIR}/ek-config-version.cmake
  cmake/Findcpuinfo.cmake DESTINATION ${cmake_dir})

# ek.pc finds its neighbours from where it lies itself.
set(pc_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_prefix ${pc_dir} ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH pc_libdir ${pc_dir} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH pc_includedir ${pc_dir} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
set(pc_cflags "")
if(EK_PREFIX)
  set(pc_cflags " -DEK_PREFIX=${EK_PREFIX}")
endif()
configure_file(cmake/ek.pc.in ek.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ek.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
