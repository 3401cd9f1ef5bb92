# SPDX-License-Identifier: Apache-2.0
# Finds XNNPACK: xnnpack::xnnpack; xnnpack_CACHES, how many caches creating an operator takes (the state
# of its interface, see microbench/peers_xnnpack.c), undefined without a usable one; and
# xnnpack_DESCRIPTION, what was found or why it is unavailable. Wants pthreadpool and cpuinfo found.
# XNNPACK_ROOT: look in this tree only.
set(XNNPACK_ROOT "" CACHE PATH "A built XNNPACK tree to compare with, instead of the system's")
if(NOT "${XNNPACK_ROOT}" STREQUAL "${xnnpack_searched_root}")
  unset(xnnpack_INCLUDE_DIR CACHE)
  unset(xnnpack_LIBRARY CACHE)
  unset(xnnpack_MICROKERNELS CACHE)
  foreach(caches IN ITEMS 0 1 2)
    unset(xnnpack_takes_${caches}_caches CACHE)
  endforeach()
  set(xnnpack_searched_root "${XNNPACK_ROOT}" CACHE INTERNAL "")
endif()
set(where)
if(XNNPACK_ROOT)
  set(where PATHS ${XNNPACK_ROOT} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
endif()
find_path(xnnpack_INCLUDE_DIR xnnpack.h ${where} PATH_SUFFIXES include)
find_library(xnnpack_LIBRARY XNNPACK ${where} PATH_SUFFIXES lib build)
# Static builds keep the kernels in a second archive.
find_library(xnnpack_MICROKERNELS NAMES xnnpack-microkernels-prod microkernels-prod ${where}
  PATH_SUFFIXES lib build)
mark_as_advanced(xnnpack_INCLUDE_DIR xnnpack_LIBRARY xnnpack_MICROKERNELS)

set(xnnpack_linked ${xnnpack_LIBRARY})
if(xnnpack_MICROKERNELS)
  list(APPEND xnnpack_linked ${xnnpack_MICROKERNELS})
endif()
list(APPEND xnnpack_linked ${pthreadpool_library} cpuinfo::cpuinfo Threads::Threads m)

# Linked as the ek command is, by the C++ compiler: later versions are partly C++.
function(ek_check_xnnpack caches)
  string(REPEAT "nullptr, " ${caches} nulls)
  if(caches EQUAL 0)
    set(setup "xnn_setup_fully_connected_nc_f32(op, 1, f, f, nullptr)
      || xnn_setup_fully_connected_nc_qs8(op, 1, q, q, nullptr)")
  else()
    set(setup "xnn_reshape_fully_connected_nc_f32(op, 1, nullptr)
      || xnn_reshape_fully_connected_nc_qs8(op, 1, nullptr)
      || xnn_setup_fully_connected_nc_f32(op, f, f) || xnn_setup_fully_connected_nc_qs8(op, q, q)")
  endif()
  set(CMAKE_REQUIRED_QUIET ON)
  set(CMAKE_REQUIRED_INCLUDES ${xnnpack_INCLUDE_DIR} ${pthreadpool_include})
  set(CMAKE_REQUIRED_LIBRARIES ${xnnpack_linked})
  check_cxx_source_compiles("
    #include <xnnpack.h>
    int main()
    {
      xnn_operator_t op = nullptr;
      float f[16] = {0};
      int8_t q[16] = {0};
      return xnn_initialize(nullptr)
        || xnn_create_fully_connected_nc_f32(1, 1, 1, 1, f, nullptr, -1, 1, 0, ${nulls} &op)
        || xnn_create_fully_connected_nc_qs8(1, 1, 1, 1, 0, 1, 1, q, nullptr, 0, 1, -1, 1, 0,
                                             ${nulls} &op)
        || ${setup} || xnn_run_operator(op, nullptr) || xnn_delete_operator(op);
    }" xnnpack_takes_${caches}_caches)
endfunction()

unset(xnnpack_CACHES)
set(xnnpack_DESCRIPTION "unavailable: XNNPACK was not found when ek was built")
if(xnnpack_INCLUDE_DIR AND xnnpack_LIBRARY)
  include(CheckCXXSourceCompiles)
  foreach(caches IN ITEMS 0 1 2)
    ek_check_xnnpack(${caches})
    if(xnnpack_takes_${caches}_caches)
      set(xnnpack_CACHES ${caches})
      break()
    endif()
  endforeach()
  set(xnnpack_DESCRIPTION
    "unavailable: the XNNPACK found when ek was built has another interface or does not link")
endif()

if(DEFINED xnnpack_CACHES)
  get_filename_component(xnnpack_DESCRIPTION ${xnnpack_LIBRARY} NAME)
  set(xnnpack_DESCRIPTION "XNNPACK, ${xnnpack_DESCRIPTION}") # neither header nor library say more
  find_program(dpkg_query dpkg-query)
  mark_as_advanced(dpkg_query)
  if(XNNPACK_ROOT)
    set(xnnpack_DESCRIPTION "XNNPACK from XNNPACK_ROOT")
  elseif(dpkg_query)
    execute_process(COMMAND ${dpkg_query} -W "-f=\${Version}" libxnnpack-dev
      OUTPUT_VARIABLE version RESULT_VARIABLE bad ERROR_QUIET)
    if(NOT bad)
      set(xnnpack_DESCRIPTION "XNNPACK ${version}")
    endif()
  endif()
  if(NOT TARGET xnnpack::xnnpack)
    add_library(xnnpack::xnnpack INTERFACE IMPORTED)
    set_target_properties(xnnpack::xnnpack PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${xnnpack_INCLUDE_DIR};${pthreadpool_include}"
      INTERFACE_LINK_LIBRARIES "${xnnpack_linked}")
  endif()
  message(STATUS "Peers: ${xnnpack_DESCRIPTION}")
else()
  message(STATUS "Peers ${xnnpack_DESCRIPTION}")
endif()
