# Configures, builds and runs a project that adds this one as a subdirectory.
# Variables: CHECKOUT (the repository), TORCH_ROOT, SOURCE_DIR (this folder), WORK_DIR, CC, CXX, GENERATOR.
# The build folder stays: what did not change since the last run is not compiled again.
include("${CMAKE_CURRENT_LIST_DIR}/run.cmake")

# People have blanks in the names of their folders.
file(MAKE_DIRECTORY "${WORK_DIR}")
file(CREATE_LINK "${TORCH_ROOT}" "${WORK_DIR}/the torch" SYMBOLIC)
run(${CMAKE_COMMAND} -S "${SOURCE_DIR}/subproject" -B "${WORK_DIR}" -G "${GENERATOR}" "-DBEACON_CHECKOUT=${CHECKOUT}"
    "-DBEACON_TORCH_ROOT=${WORK_DIR}/the torch" "-DCMAKE_C_COMPILER=${CC}" "-DCMAKE_CXX_COMPILER=${CXX}")
run(${CMAKE_COMMAND} --build "${WORK_DIR}" --target consumer)
run("${WORK_DIR}/consumer")
message(STATUS "${output}")
