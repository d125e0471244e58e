# Finds oneDNN 2.6 or a later 2.x that runs on OpenMP (version 3 has another interface).
# Its own package file is not asked: it wants OpenCL's headers, which nothing here needs.
#
#  DNNL_FOUND, DNNL_VERSION
#  DNNL_INCLUDE_DIR, DNNL_LIBRARY

find_path(DNNL_INCLUDE_DIR NAMES oneapi/dnnl/dnnl_version.h)
find_library(DNNL_LIBRARY NAMES dnnl)

set(DNNL_VERSION DNNL_VERSION-NOTFOUND)
if(DNNL_INCLUDE_DIR)
  set(DNNL_HEADERS ${DNNL_INCLUDE_DIR}/oneapi/dnnl)
  file(STRINGS ${DNNL_HEADERS}/dnnl_version.h DNNL_LINES
       REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
  string(REGEX REPLACE "[^0-9;]" "" DNNL_NUMBERS "${DNNL_LINES}")
  string(REPLACE ";" "." DNNL_NUMBERS "${DNNL_NUMBERS}")
  file(STRINGS ${DNNL_HEADERS}/dnnl_config.h DNNL_OPENMP
       REGEX "define DNNL_CPU_RUNTIME DNNL_RUNTIME_OMP")
  if(DNNL_OPENMP AND NOT DNNL_NUMBERS VERSION_LESS 2.6
     AND DNNL_NUMBERS VERSION_LESS 3)
    set(DNNL_VERSION ${DNNL_NUMBERS})
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DNNL REQUIRED_VARS
  DNNL_LIBRARY DNNL_INCLUDE_DIR DNNL_VERSION VERSION_VAR DNNL_VERSION)
mark_as_advanced(DNNL_INCLUDE_DIR DNNL_LIBRARY)
