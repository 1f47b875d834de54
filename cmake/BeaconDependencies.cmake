# Outside libraries. Debian packages through pkg-config or their CMake files; torch from the wheel in the private venv.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
# Training with several processes; without it everything else works.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
if(BEACON_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

# find_package(Torch) stops without a CUDA toolkit, so the two libraries we need are imported by hand.
if(NOT BEACON_TORCH_ROOT)
  file(GLOB _torch_candidates "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  list(APPEND _torch_candidates "${PROJECT_SOURCE_DIR}/.venv")
  list(GET _torch_candidates 0 _torch_first)
else()
  set(_torch_first "${BEACON_TORCH_ROOT}")
endif()
if(NOT EXISTS "${_torch_first}/include/ATen/ATen.h")
  message(FATAL_ERROR "No libtorch found (looked for include/ATen/ATen.h in '${_torch_first}'). "
                      "Run 'make setup', or give -DBEACON_TORCH_ROOT=<folder of the torch wheel>.")
endif()
# What is installed finds libtorch where it was linked; a linked path alone is not kept for transitive libraries.
set(CMAKE_INSTALL_RPATH "${_torch_first}/lib")
add_library(beacon_torch INTERFACE)
# Behind the system's headers: the wheel carries an fmt of its own, which must not replace the one we link.
target_compile_options(beacon_torch INTERFACE
  "SHELL:-idirafter '${_torch_first}/include'" "SHELL:-idirafter '${_torch_first}/include/torch/csrc/api/include'")
# The OpenMP run-time that the wheel brings, so that our parallel regions and torch's share one pool of threads.
file(GLOB _torch_openmp "${_torch_first}/lib/libgomp*.so*")
if(NOT _torch_openmp)
  set(_torch_openmp gomp)
endif()
target_link_libraries(beacon_torch INTERFACE "${_torch_first}/lib/libtorch_cpu.so" "${_torch_first}/lib/libc10.so"
                                             ${_torch_openmp} Threads::Threads)
# The wheel finds its CUDA runtime through its own rpath, which the linker does not follow everywhere.
target_link_options(beacon_torch INTERFACE "LINKER:--allow-shlib-undefined")
