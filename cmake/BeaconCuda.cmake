# libbeacon_cuda.so, the kernels of a GPU: built with nvcc alone, so that the rest of the build needs no CUDA toolkit,
# and loaded at run time by a program that is told --device cuda.
set(BEACON_CUDA "AUTO" CACHE STRING "Build libbeacon_cuda.so: AUTO (where nvcc is found), ON (nvcc is required) or OFF")
set_property(CACHE BEACON_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT BEACON_CUDA)
  return()
endif()
file(GLOB _wheel_toolkits "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/nvidia/cu13/bin")
find_program(BEACON_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda/bin ${_wheel_toolkits}
             DOC "CUDA compiler for libbeacon_cuda.so")
if(NOT BEACON_NVCC)
  if(NOT BEACON_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "BEACON_CUDA is ${BEACON_CUDA}, but there is no nvcc. Run 'scripts/setup.sh --cuda', set CUDA_HOME, "
                        "or give -DBEACON_NVCC=<path of nvcc>.")
  endif()
  return()
endif()

# An nvcc that cannot work with this compiler (it is too old for C++20, say) must not stop a build that did not ask for it.
set(_probe "${PROJECT_BINARY_DIR}/nvcc_probe")
file(WRITE "${_probe}.cu" "__global__ void probe(int* x) { if constexpr (sizeof(int) == 4) *x = 1; }\n")
execute_process(COMMAND "${BEACON_NVCC}" -std=c++20 -ccbin "${CMAKE_CXX_COMPILER}" -gencode=arch=compute_90,code=sm_90
                        -c "${_probe}.cu" -o "${_probe}.o"
                RESULT_VARIABLE _nvcc_failed OUTPUT_QUIET ERROR_VARIABLE _nvcc_says)
if(_nvcc_failed)
  string(REGEX REPLACE "\n.*" "" _nvcc_says "${_nvcc_says}")
  if(NOT BEACON_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "${BEACON_NVCC} cannot compile a kernel with ${CMAKE_CXX_COMPILER}: ${_nvcc_says}")
  endif()
  message(STATUS "No libbeacon_cuda.so: ${BEACON_NVCC} cannot compile a kernel: ${_nvcc_says}")
  return()
endif()

get_filename_component(_nvcc_root "${BEACON_NVCC}" DIRECTORY)
get_filename_component(_nvcc_root "${_nvcc_root}" DIRECTORY)
set(_kernels "${PROJECT_SOURCE_DIR}/src/kernels/cuda")
set(BEACON_CUDA_LIBRARY "${PROJECT_BINARY_DIR}/libbeacon_cuda.so")
# Ampere and Hopper as they are; what comes after compiles the intermediate code when it loads it.
add_custom_command(OUTPUT "${BEACON_CUDA_LIBRARY}"
  COMMAND "${BEACON_NVCC}" -std=c++20 -O3 -shared -Xcompiler -fPIC,-fvisibility=hidden -ccbin "${CMAKE_CXX_COMPILER}"
          -cudart static "-L${_nvcc_root}/lib" "-L${_nvcc_root}/lib64" "-I${PROJECT_SOURCE_DIR}/src"
          -gencode=arch=compute_80,code=sm_80 "-gencode=arch=compute_90,code=[sm_90,compute_90]"
          "${_kernels}/device_kernels.cu" "${_kernels}/attention.cu" -o "${BEACON_CUDA_LIBRARY}"
  DEPENDS "${_kernels}/device_kernels.cu" "${_kernels}/attention.cu" "${_kernels}/attention.h"
          "${_kernels}/device_kernels.h" "${_kernels}/launch.h" "${_kernels}/numbers.h"
          "${_kernels}/weights.h" "${_kernels}/weights_k.h"
          "${PROJECT_SOURCE_DIR}/src/base/dtype.h" "${PROJECT_SOURCE_DIR}/src/base/checked.h"
  COMMENT "Building libbeacon_cuda.so with nvcc" VERBATIM)
add_custom_target(beacon_cuda ALL DEPENDS "${BEACON_CUDA_LIBRARY}")
if(BEACON_INSTALL)
  include(GNUInstallDirs)
  install(FILES "${BEACON_CUDA_LIBRARY}" DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
