// A build without MPI.
#include "base/check.h"
#include "train/communicator.h"
#include "train/launcher.h"

namespace beacon {

std::unique_ptr<Communicator> launched_processes() {
  require(launched_ranks() <= 1, ErrorCode::kUnsupported,
          "{} processes were started, but this build has no MPI; install libopenmpi-dev and build again",
          launched_ranks());
  return single_process();
}

}  // namespace beacon
