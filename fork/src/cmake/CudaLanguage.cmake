# CUDA as a language of CMake's own, in place of upstream's Cuda.cmake: FindCUDA, which
# that needs, is gone from CMake, and its architectures end at 61.
#
# In: CPU_ONLY, USE_CUDNN, CUDA_ARCHITECTURES (a list such as 80;90, or 90-virtual for
# PTX alone), NVIDIA_WHEELS (a Python environment's site-packages/nvidia, where cuBLAS,
# cuRAND, cuDNN and NCCL may come from; empty: the system's).
# Out: HAVE_CUDA, HAVE_CUDNN and what upstream's lists of the libraries take.
if(CPU_ONLY)
  return()
endif()

set(CUDA_ARCHITECTURES "80;90;100;120" CACHE STRING "Compute capabilities to compile for")
set(NVIDIA_WHEELS "" CACHE PATH "site-packages/nvidia of a Python environment")

# The newest architecture as PTX, too: later cards compile it when a program starts.
set(CMAKE_CUDA_ARCHITECTURES "")
set(newest 0)
foreach(arch ${CUDA_ARCHITECTURES})
  if(arch MATCHES "-")
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${arch})
  else()
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${arch}-real)
  endif()
  string(REGEX MATCH "^[0-9]+" number ${arch})
  if(number GREATER newest)
    set(newest ${number})
  endif()
endforeach()
list(APPEND CMAKE_CUDA_ARCHITECTURES ${newest}-virtual)
list(REMOVE_DUPLICATES CMAKE_CUDA_ARCHITECTURES)

# NVIDIA's wheels of some releases have their libraries in lib, where their nvcc does not
# look.
cmake_policy(SET CMP0104 NEW)
get_filename_component(toolkit "$ENV{CUDACXX}" REALPATH)
get_filename_component(toolkit "${toolkit}" DIRECTORY)
if(NOT EXISTS ${toolkit}/../lib64 AND EXISTS ${toolkit}/../lib/libcudart_static.a)
  set(CMAKE_CUDA_FLAGS "$ENV{CUDAFLAGS} \"-L${toolkit}/../lib\"")
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)  # of CCCL, which thrust is a part of
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -Xcompiler=-fPIC -diag-suppress=20012")
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")

# caffe_nvidia_library(NAME HEADER): sets NAME_INCLUDE and NAME_LIBRARY. A wheel has the
# library under its full name alone, libcublas.so.13. Nothing is taken from CMake's cache:
# wheels come and go.
function(caffe_nvidia_library name header)
  unset(${name}_INCLUDE CACHE)
  unset(${name}_LIBRARY CACHE)
  set(includes "")
  set(from_wheels "")
  if(NVIDIA_WHEELS)
    file(GLOB includes ${NVIDIA_WHEELS}/*/include)
    file(GLOB from_wheels ${NVIDIA_WHEELS}/*/lib/lib${name}.so*)
    if(name STREQUAL cublas)
      # Other packages bring wheels, too, of another CUDA than the compiler's.
      string(REGEX MATCH "^[0-9]+" major ${CMAKE_CUDA_COMPILER_VERSION})
      file(GLOB from_wheels ${NVIDIA_WHEELS}/*/lib/libcublas.so.${major})
    endif()
  endif()
  find_path(${name}_INCLUDE ${header}
            HINTS ${includes} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  if(from_wheels)
    list(GET from_wheels 0 ${name}_LIBRARY)
    set(${name}_LIBRARY ${${name}_LIBRARY} CACHE FILEPATH "" FORCE)
  else()
    find_library(${name}_LIBRARY ${name}
                 HINTS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
  endif()
  if(${name}_INCLUDE AND ${name}_LIBRARY)
    set(${name}_FOUND TRUE PARENT_SCOPE)
  endif()
endfunction()

# The compiler's own headers before any wheel's, which may be of another release.
set(HAVE_CUDA TRUE)
set(CUDA_VERSION ${CMAKE_CUDA_COMPILER_VERSION})
list(APPEND Caffe_INCLUDE_DIRS PUBLIC ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
unset(cudart_LIBRARY CACHE)
find_library(cudart_LIBRARY NAMES cudart libcudart.so.13 libcudart.so.12
             HINTS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
list(APPEND Caffe_LINKER_LIBS PUBLIC ${cudart_LIBRARY})

foreach(library cublas:cublas_v2.h curand:curand.h)
  string(REPLACE ":" ";" library ${library})
  list(GET library 0 name)
  list(GET library 1 header)
  caffe_nvidia_library(${name} ${header})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${header} or lib${name} is missing: install it with the CUDA"
      " toolkit, or nvidia-${name} with pip")
  endif()
  list(APPEND Caffe_INCLUDE_DIRS PUBLIC ${${name}_INCLUDE})
  list(APPEND Caffe_LINKER_LIBS PUBLIC ${${name}_LIBRARY})
endforeach()

if(USE_CUDNN)
  caffe_nvidia_library(cudnn cudnn.h)
  if(cudnn_FOUND)
    set(HAVE_CUDNN TRUE)
    file(STRINGS ${cudnn_INCLUDE}/cudnn_version.h parts
         REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) +[0-9]+")
    string(REGEX MATCHALL "[0-9]+" CUDNN_VERSION "${parts}")
    string(REPLACE ";" "." CUDNN_VERSION "${CUDNN_VERSION}")
    list(APPEND Caffe_DEFINITIONS PUBLIC -DUSE_CUDNN)
    list(APPEND Caffe_INCLUDE_DIRS PUBLIC ${cudnn_INCLUDE})
    list(APPEND Caffe_LINKER_LIBS PUBLIC ${cudnn_LIBRARY})
  endif()
endif()

# Several cards take NCCL; FindNCCL, which comes after this, looks here first.
caffe_nvidia_library(nccl nccl.h)
if(nccl_FOUND)
  set(USE_NCCL ON)
  set(NCCL_INCLUDE_DIR ${nccl_INCLUDE} CACHE PATH "" FORCE)
  set(NCCL_LIBRARIES ${nccl_LIBRARY} CACHE FILEPATH "" FORCE)
endif()

# What is for g++ is not for nvcc.
set(options ${Caffe_COMPILE_OPTIONS})
list(REMOVE_ITEM options PRIVATE PUBLIC)
if(options)
  set(Caffe_COMPILE_OPTIONS PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${options}>)
endif()

# Upstream's lists of files are CMake's to compile, each alone: CMake 3.31 makes unity
# builds of CUDA, too, and kernels of several files have the same names.
macro(caffe_cuda_compile objects)
  set(${objects} "")
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  # A test calls kernels of im2col.cu, which nvcc has hidden from other files since 12.8.
  if(NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
    set(calls_across_files ${ARGN})
    list(FILTER calls_across_files INCLUDE REGEX "im2col")
    set_source_files_properties(${calls_across_files} PROPERTIES
      COMPILE_OPTIONS "-static-global-template-stub=false;-device-entity-has-hidden-visibility=false")
  endif()
endmacro()
macro(cuda_include_directories)
endmacro()
