# Adds to a list of tests a copy of upstream's own test of a layer, which names the
# engine DNNL's class instead of the stock one. Nothing where the list lacks the test.
# Usage:
#   caffe_add_dnnl_test(<list_variable> convolution_layer ConvolutionLayer dnnl_conv_layer)
function(caffe_add_dnnl_test list_variable test class header)
  set(original ${CMAKE_CURRENT_SOURCE_DIR}/test_${test}.cpp)
  list(FIND ${list_variable} ${original} index)
  if(index EQUAL -1)
    return()
  endif()
  file(READ ${original} text)
  string(REGEX REPLACE "([ (~])${class}" "\\1DNNL${class}" text "${text}")
  set(copy ${CMAKE_CURRENT_BINARY_DIR}/test_dnnl_upstream_${test}.cpp)
  # cuDNN's classes, which the same files test, have no such twin.
  file(WRITE ${copy}.new
    "#undef USE_CUDNN\n#include \"caffe/layers/${header}.hpp\"\n${text}")
  configure_file(${copy}.new ${copy} COPYONLY)  # which leaves what has not changed
  set_source_files_properties(${copy} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set(${list_variable} ${${list_variable}} ${copy} PARENT_SCOPE)
endfunction()
