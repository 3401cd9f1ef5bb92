# SPDX-License-Identifier: Apache-2.0
# Finds cpuinfo: cpuinfo::cpuinfo. The package configuration that Debian 12 ships names files where
# they are not, so header and library are looked up here.
find_path(cpuinfo_INCLUDE_DIR cpuinfo.h)
find_library(cpuinfo_LIBRARY cpuinfo)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cpuinfo REQUIRED_VARS cpuinfo_LIBRARY cpuinfo_INCLUDE_DIR)
if(cpuinfo_FOUND AND NOT TARGET cpuinfo::cpuinfo)
  add_library(cpuinfo::cpuinfo UNKNOWN IMPORTED)
  set_target_properties(cpuinfo::cpuinfo PROPERTIES IMPORTED_LOCATION ${cpuinfo_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${cpuinfo_INCLUDE_DIR})
endif()
mark_as_advanced(cpuinfo_INCLUDE_DIR cpuinfo_LIBRARY)
