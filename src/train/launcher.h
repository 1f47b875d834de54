#pragma once
// What started this process.

namespace beacon {

// Processes that mpirun (Open MPI, MPICH) or srun started together with this one; 1 without a launcher.
int launched_ranks();

}  // namespace beacon
