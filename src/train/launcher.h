#pragma once
// What started this process.

namespace beacon {

// Processes that mpirun (Open MPI, MPICH) or srun started together with this one; 1 without a launcher.
int launched_ranks();

// Those of them on this machine; 1 where the launcher does not say.
int launched_ranks_here();

// Threads for each of them when nobody says how many: its share of this machine's processors, and not more
// than the launcher binds it to.
int threads_of_a_rank();

}  // namespace beacon
